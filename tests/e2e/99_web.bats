#!/usr/bin/env bats
# The managers' web page: what curl is told and refused, and what an operator sees in a browser (headless Chromium).
# SKEIN_SCREENSHOTS=DIR: leave pictures of the page there (docs/screenshots/ has some).
load common

URL=https://10.77.0.1:9641/ui

setup_file() {
	cluster_up 1 2
	# Where the operator sits: on a cluster's host, interfaces come and go with the tasks, and browsers then drop what they load.
	bed host h4
	load_image h1 demo:1 --cmd 'i=0; while :; do i=$((i+1)); echo "request $i: 200 in $((i % 7 + 3)) ms"; [ $((i % 9)) != 0 ] || echo "slow answer" >&2; sleep 1; done'
	ctl h1 service create --name web --replicas 3 demo:1
	ctl h1 service create --name api --replicas 2 --label tier=back demo:1
}

# curl on h1, which knows the cluster's root and the page's name.
page() { bed run h1 curl -s --max-time 20 --cacert /var/lib/skein/identity/root.crt "$@"; }
token() { ctl h1 ui-token -q --ttl 1h; }
# A Python program that drives a browser on h4: `b` is the browser, `token` a fresh token, ctl() is clusterctl on h1.
browse() {
	local program
	program=$(cat)
	PYTHONPATH="$ROOT/tests/support" PYTHONDONTWRITEBYTECODE=1 SHOTS=${SKEIN_SCREENSHOTS:-} \
		timeout $((120 * ${SKEIN_SLOW:-1})) python3 - "$URL/" "$(token)" "$ROOT/tests/e2e/testbed" <<-EOT
		import os, subprocess, sys, time
		from browser import Browser
		url, token, testbed = sys.argv[1:]
		def bed(*words): return subprocess.run(["bash", testbed, *words], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
		def ctl(*words): return bed("ctl", "h1", *words)
		def shot(name):
		    if os.environ["SHOTS"]: b.screenshot(os.path.join(os.environ["SHOTS"], name + ".png"))
		with Browser(1280, 760, ["bash", testbed, "run", "h4"]) as b:
		$(sed 's/^/    /' <<<"$program")
		    assert not b.complaints(), b.complaints()
	EOT
}

@test "the page is public, nothing else is, and all of it has the policy" {
	run page -i "$URL/"
	[[ $output == *"HTTP/1.1 200"*"Content-Security-Policy: default-src 'none'; script-src 'self'"*"frame-ancestors 'none'"* ]]
	[[ $output == *"X-Content-Type-Options: nosniff"* ]]
	[[ $output != *10.77* ]]
	for what in events "node?id=x" "task?id=x" "service?id=x" "log?task=x" "usage?nodes=x"; do
		run page -i "$URL/$what"
		[[ $output == *"HTTP/1.1 401"*"Content-Security-Policy"* ]]
	done
	[ "$(page -o /dev/null -w '%{http_code}' --compressed "$URL/app.js")" = 200 ]
	# Another certificate's root does not prove it.
	run bed run h1 curl -s --max-time 10 "$URL/"
	[ "$status" -ne 0 ]
}

@test "a token opens a session; signing out and revoking end it" {
	local text id cookie key
	text=$(token)
	id=${text:9:10}
	[ "$(ctl h1 ui-token ls -q)" = "$id" ]
	[ "$(page -o /dev/null -w '%{http_code}' -d token="${text%?}x" "$URL/sign-in")" = 403 ]
	run page -i -d token="$text" "$URL/sign-in"
	[[ $output == *"Set-Cookie: __Host-skein="*"Path=/;"*"Secure; HttpOnly; SameSite=Strict"* ]]
	cookie=$(sed -n 's/.*\(__Host-skein=[0-9a-z]*\).*/\1/p' <<<"$output")
	key=$(sed -n 's/.*"key":"\([0-9a-z]*\)".*/\1/p' <<<"$output")
	ask() { page -o /dev/null -w '%{http_code}' -H "Cookie: $cookie" -H "X-Skein-Key: $key" "$@"; }
	[ "$(ask "$URL/node?id=x")" = 404 ]
	[ "$(page -o /dev/null -w '%{http_code}' -H "Cookie: $cookie" "$URL/node?id=x")" = 401 ]
	[ "$(ask -d '' "$URL/sign-out")" = 200 ]
	[ "$(ask "$URL/node?id=x")" = 401 ]
	run page -d token="$text" -i "$URL/sign-in"
	cookie=$(sed -n 's/.*\(__Host-skein=[0-9a-z]*\).*/\1/p' <<<"$output")
	key=$(sed -n 's/.*"key":"\([0-9a-z]*\)".*/\1/p' <<<"$output")
	[ "$(ask "$URL/node?id=x")" = 404 ]
	ctl h1 ui-token rm "$id"
	[ "$(ask "$URL/node?id=x")" = 401 ]
	[ "$(page -o /dev/null -w '%{http_code}' -d token="$text" "$URL/sign-in")" = 403 ]
	# It is no token to join with, and its text is nowhere in what is kept or logged.
	run ctl h2 join --token "$text" 10.77.0.1:2377
	[ "$status" -ne 0 ]
	run grep -c "${text:19}" "$SKEIN_TESTBED/h1/agent.log"
	[ "$output" = 0 ]
}

@test "refused lives" {
	for ttl in 0s 745h; do
		run ctl h1 ui-token --ttl "$ttl"
		[ "$status" -eq 2 ]
		[[ $output == *--ttl* ]]
	done
}

@test "an operator signs in, and sees nodes, services and tasks; a scale-up appears" {
	browse <<-'EOT'
		b.open(url)
		b.wait("!document.querySelector('#gate').hidden")
		shot("sign-in")
		b.sign_in(url, token)
		b.wait("document.querySelectorAll('#nodes .node').length === 3")
		b.wait("document.querySelectorAll('#nodes .tile[data-look=running]').length === 5")
		assert "web" in b.text("#services") and "3/3" in b.text("#services"), b.text("#services")
		ctl("service", "scale", "--detach", "web=8")
		b.wait("document.querySelectorAll('#nodes .tile[data-look=running]').length === 10")
		b.wait("document.querySelector('#services').innerText.includes('8/8')")
		ctl("service", "scale", "--detach", "web=3")
		b.wait("document.querySelectorAll('#nodes .tile').length === 5")
	EOT
}

@test "a drained node empties, and its tasks come up elsewhere" {
	browse <<-'EOT'
		b.sign_in(url, token)
		card = "[...document.querySelectorAll('#nodes .node')].find((n) => n.innerText.startsWith('h3'))"
		b.wait(f"{card}.querySelectorAll('.tile').length > 0")
		ctl("node", "update", "--availability", "drain", "h3")
		b.wait(f"{card}.innerText.includes('Drained') && {card}.querySelectorAll('.tile').length === 0")
		b.wait("document.querySelectorAll('#nodes .tile[data-look=running]').length === 5")
		ctl("node", "update", "--availability", "active", "h3")
		b.wait(f"!{card}.innerText.includes('Drained')")
	EOT
}

@test "why a task waits, that one has failed, and a lost node" {
	ctl h1 service create --detach --name nowhere --constraint node.labels.rack==z demo:1
	ctl h1 service create --detach --name broken --restart-condition none demo:1 sh -c 'echo no luck >&2; exit 3'
	browse <<-'EOT'
		b.sign_in(url, token)
		b.wait("document.querySelector('#waiting').innerText.includes('no suitable node')")
		b.click("#nodes .tile[data-look=failed]")
		b.wait("document.querySelector('#panel').innerText.includes('non-zero exit (3)')")
		b.wait("document.querySelector('.log').innerText.includes('no luck')")
	EOT
	bed crash h3
	browse <<-'EOT'
		b.sign_in(url, token)
		b.wait("document.querySelector('.node[data-kind=bad]')?.innerText.includes('Down')")
		b.wait("document.querySelector('#summary').innerText.includes('2/3')")
	EOT
	bed boot h3
	wait_for 30 nodes_ready h1 3
	ctl h1 service rm nowhere broken
}

@test "what containers, labels and logs say stays text" {
	ctl h1 service create --detach --name hostile --label 'note=<img src=x onerror="window.pwned=1">' \
		--container-label 'k=<script>window.pwned=2</script>' --restart-condition none demo:1 \
		sh -c 'echo "<script>window.pwned=3</script><b>bold</b> $(printf "\033[31mred\033[0m \001 \377")"; sleep 1000'
	browse <<-'EOT'
		b.sign_in(url, token)
		b.wait("[...document.querySelectorAll('.service-name')].some((n) => n.textContent === 'hostile')")
		b.run("[...document.querySelectorAll('.service')].find((n) => n.innerText.includes('hostile')).click()")
		b.wait("document.querySelector('#panel .labels')?.innerText.includes('note=<img src=x onerror=')")
		b.run("[...document.querySelectorAll('.tile')].find((n) => n.innerText.includes('hostile')).click()")
		b.wait("document.querySelector('#panel .labels')?.innerText.includes('<script>window.pwned=2</script>')")
		line = b.wait("document.querySelector('.log-text')?.textContent")
		assert line.startswith("<script>window.pwned=3</script><b>bold</b> red · "), line
		assert b.run("window.pwned === undefined && !document.querySelector('#panel script, #panel img, .log b')")
	EOT
	ctl h1 service rm hostile
}

@test "by keyboard alone" {
	browse <<-'EOT'
		b.sign_in(url, token)
		b.wait("document.querySelectorAll('#nodes .tile').length === 5")
		b.run("document.querySelector('#sign-out').focus()")
		b.key("Tab")
		assert b.run("document.activeElement.classList.contains('service')")
		first = b.run("document.activeElement.innerText")
		b.key("ArrowDown")
		assert b.run("document.activeElement.innerText") != first
		# The board is one stop of Tab; arrows move inside it.
		b.key("Tab")
		assert b.run("!!document.activeElement.closest('.board')"), b.run("document.activeElement.className")
		here = b.run("document.activeElement.getAttribute('aria-label')")
		b.key("ArrowDown")
		there = b.run("document.activeElement.getAttribute('aria-label')")
		assert there != here
		b.key("ArrowRight")
		assert b.run("document.activeElement.getAttribute('aria-label')") != there
		b.run("document.querySelector('#nodes .tile').focus()")
		tile = b.run("document.activeElement.getAttribute('aria-label')")
		assert " on h" in tile and ": running" in tile, tile
		b.key("Enter")
		b.wait("!document.querySelector('#panel').hidden && document.activeElement.id === 'panel-title'")
		b.key("Escape")
		b.wait(f"document.querySelector('#panel').hidden && document.activeElement.getAttribute('aria-label') === {tile!r}")
		b.key("/")
		b.type("api")
		b.wait("[...document.querySelectorAll('#nodes .tile-name')].every((n) => n.textContent === 'api')")
		assert b.run("document.querySelectorAll('#services li').length") == 1
		b.key("Escape")
		b.wait("document.querySelectorAll('#nodes .tile').length === 5")
		b.run("document.activeElement.blur()")
		b.key("?")
		b.wait("document.querySelector('#help').open && document.querySelector('#help').innerText.includes('Waiting for a node')")
		b.key("Escape")
		b.wait("!document.querySelector('#help').open")
	EOT
}

@test "in a narrow window, in the dark, and without movement" {
	browse <<-'EOT'
		b.sign_in(url, token)
		b.wait("document.querySelectorAll('#nodes .tile').length === 5")
		b.size(360, 700)
		b.wait("document.documentElement.scrollWidth <= innerWidth")
		boxes = b.run("[...document.querySelectorAll('#nodes .node')].map((n) => n.getBoundingClientRect().width)")
		assert all(320 < w <= 360 for w in boxes), boxes
		b.click("#nodes .tile")
		b.wait("document.querySelector('#panel').getBoundingClientRect().width === innerWidth")
		b.click("#panel .close")
		b.wait("document.querySelector('#panel').hidden")
		light = b.run("getComputedStyle(document.body).backgroundColor")
		b.media("dark", "reduce")
		b.wait(f"getComputedStyle(document.body).backgroundColor !== {light!r}")
		ctl("service", "scale", "--detach", "web=4")
		b.wait("document.querySelectorAll('#nodes .tile').length === 6")
		assert b.run("document.getAnimations().length") == 0
		ctl("service", "scale", "--detach", "web=3")
	EOT
}

@test "what a node uses is plotted" {
	browse <<-'EOT'
		b.sign_in(url, token)
		b.wait("[...document.querySelectorAll('#nodes .plot b')].length === 6 && [...document.querySelectorAll('#nodes .plot b')].every((n) => /%|B/.test(n.textContent))")
		b.click("#nodes .tile")
		b.wait("document.querySelector('#panel .plot-line')?.getAttribute('d').startsWith('M')")
	EOT
}

# A browser has six connections to a manager, for all its tabs.
@test "a page that nobody looks at holds no stream, and goes on where it was" {
	browse <<-'EOT'
		def streams(): return int(bed("run", "h1", "curl", "-sk", "https://127.0.0.1:9641/metrics").split("skein_http_streams ")[-1].split()[0])
		def until(n):
		    end = time.monotonic() + 20
		    while streams() != n:
		        assert time.monotonic() < end, f"{streams()} streams, not {n}"
		        time.sleep(0.1)
		def look(hidden):
		    b.run(f"Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {hidden} }}); document.dispatchEvent(new Event('visibilitychange'))")
		texts = "[...document.querySelectorAll('.log-text')].map((n) => n.textContent)"
		b.sign_in(url, token)
		b.click("#nodes .tile[data-look=running]")
		b.wait(f"{texts}.length > 3")
		until(3)
		look("true")
		known = b.run(f"{texts}.length")
		until(0)
		assert b.run("document.querySelector('#live').dataset.state") == "live"
		look("false")
		b.wait(f"{texts}.length > {known + 2}")
		until(3)
		numbers = [line.split(":")[0] for line in b.run(texts) if line.startswith("request")]
		assert len(numbers) == len(set(numbers)), numbers
		# Hidden and seen again at once: still one of each.
		for i in range(5): look("true"); look("false")
		until(3)
		known = b.run(f"{texts}.length")
		b.wait(f"{texts}.length > {known}")
		numbers = [line.split(":")[0] for line in b.run(texts) if line.startswith("request")]
		assert len(numbers) == len(set(numbers)), numbers
	EOT
}

@test "an answer that does not come is not waited for without end" {
	browse <<-'EOT'
		b.sign_in(url, token)
		b.wait("document.querySelectorAll('#nodes .tile').length === 5")
		bed("run", "h4", "nft", "add table inet deaf; add chain inet deaf in { type filter hook input priority 0; }; add rule inet deaf in tcp sport 9641 drop")
		b.click("#nodes .node-title")
		b.wait("document.querySelector('.panel-detail').innerText.includes('did not answer within 15 seconds')", 40)
		bed("run", "h4", "nft", "delete table inet deaf")
		b.events.clear()
	EOT
}

@test "a manager that comes back asks again; a revoked token signs out" {
	browse <<-'EOT'
		b.sign_in(url, token)
		b.wait("document.querySelectorAll('#nodes .tile').length === 5")
		ctl("ui-token", "rm", token[9:19])
		b.wait("!document.querySelector('#gate').hidden && document.querySelector('#gate-error').innerText.includes('signed out')")
		token = ctl("ui-token", "-q").strip()
		b.sign_in(url, token)
		bed("kill", "h1", "manager")
		b.wait("!document.querySelector('#gate').hidden", 60)
		b.sign_in(url, token)
		b.wait("document.querySelectorAll('#nodes .tile').length === 5")
		b.events.clear() # the browser complains of the connections that were lost
	EOT
}

@test "pictures" {
	[ -n "${SKEIN_SCREENSHOTS:-}" ] || skip "SKEIN_SCREENSHOTS is not set"
	ctl h1 service create --detach --name mail --replicas 4 demo:1
	ctl h1 service create --detach --name search --replicas 5 demo:1
	ctl h1 service create --detach --name metrics --mode global demo:1
	ctl h1 service create --detach --name batch --restart-condition none demo:1 sh -c 'echo "no such table: jobs" >&2; exit 3'
	ctl h1 service create --detach --name gpu --constraint node.labels.gpu==yes demo:1
	browse <<-'EOT'
		b.sign_in(url, token)
		b.wait("document.querySelectorAll('#nodes .tile').length === 18 && !document.querySelector('#waiting').hidden")
		b.wait("document.querySelector('#nodes .plot-line')?.getAttribute('d').split('L').length > 25", 60)
		shot("light")
		b.media("dark")
		b.run("[...document.querySelectorAll('.tile')].find((n) => n.innerText.includes('web')).click()")
		b.wait("document.querySelectorAll('.log-line').length > 10")
		b.wait("document.querySelector('#panel .plot-line').getAttribute('d').split('L').length > 25", 60)
		shot("dark")
		b.key("Escape")
		b.media("light")
		b.size(400, 800)
		b.wait("document.documentElement.scrollWidth <= innerWidth")
		b.wait("document.getAnimations().every((a) => a.playState !== 'running' || a.effect.getTiming().iterations === Infinity)")
		shot("narrow")
	EOT
}
