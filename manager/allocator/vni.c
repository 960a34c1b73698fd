#include "vni.h"

#include "rests.h"

#include "manager/store/view.h"

#include "common/error.h"
#include "common/mem.h"

#include <inttypes.h>

static int lowest_free(const void **networks, size_t n, uint32_t *ret, struct error *err)
{
	_cleanup_free_ uint8_t *used = xcalloc(VNI_MAX / 8 + 1, 1);

	for (size_t i = 0; i < n; i++) {
		uint32_t vni = ((const pb_network *)networks[i])->vni;

		if (vni <= VNI_MAX)
			used[vni / 8] |= (uint8_t)(1u << vni % 8);
	}
	for (uint32_t vni = VNI_INGRESS + 1; vni <= VNI_MAX; vni++) {
		if (used[vni / 8] & 1u << vni % 8)
			continue;
		*ret = vni;
		return 0;
	}
	return error_set(err, ERR_EXHAUSTED, "no free VNI (all of %u to %u are in use)", VNI_INGRESS + 1, VNI_MAX);
}

int vni_next(const struct view *view, struct rests *rests, uint32_t *ret, struct error *err)
{
	_cleanup_free_ const void **networks = NULL;
	uint32_t highest = MAX(VNI_INGRESS, rests_last_vni(rests));
	size_t n;

	networks = view_list(view, KIND_NETWORK, &n);
	for (size_t i = 0; i < n; i++)
		highest = MAX(highest, ((const pb_network *)networks[i])->vni);
	if (!rests_last_vni(rests))
		highest += VNI_GAP;
	if (highest >= VNI_MAX)
		return lowest_free(networks, n, ret, err);
	*ret = highest + 1;
	rests_set_last_vni(rests, *ret);
	return 0;
}
