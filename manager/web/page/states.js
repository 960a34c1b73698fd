// What states look like and are called. Every look has a shape besides its colour.

export const TASK = { NEW: 0, PENDING: 64, ASSIGNED: 192, STARTING: 448, RUNNING: 512, COMPLETE: 576, SHUTDOWN: 640, FAILED: 704, REJECTED: 768, REMOVE: 800, ORPHANED: 832 };
export const NODE = { UNKNOWN: 0, DOWN: 1, READY: 2, DISCONNECTED: 3 };

const names = {
	0: "new", 64: "pending", 192: "assigned", 256: "accepted", 320: "preparing", 384: "ready", 448: "starting", 512: "running",
	576: "complete", 640: "shut down", 704: "failed", 768: "rejected", 800: "remove", 832: "orphaned",
};
export const stateName = (state) => names[state] || "unknown";

// In the order of the legend.
export const looks = {
	running: "Running",
	starting: "Starting",
	waiting: "Waiting for a node",
	stopping: "Stopping",
	failed: "Failed",
	done: "Complete",
	lost: "Node not reached",
};

export function lookOf(task, node) {
	if (task.state > TASK.RUNNING) {
		if (task.state === TASK.COMPLETE || task.state === TASK.SHUTDOWN) return "done";
		return task.state === TASK.ORPHANED ? "lost" : "failed";
	}
	if (node && node.state !== NODE.READY && task.state >= TASK.ASSIGNED) return "lost";
	if (task.desired > TASK.RUNNING) return "stopping";
	if (task.state === TASK.RUNNING) return "running";
	return task.state < TASK.ASSIGNED ? "waiting" : "starting";
}

// Its state in words, for names and tooltips.
export function stateText(task, node) {
	const look = lookOf(task, node);
	if (look === "lost" && task.state <= TASK.RUNNING) return "its node is not reached";
	if (look === "stopping") return "stopping";
	return stateName(task.state);
}

// What is to be said of a node besides its name; null: all is well.
export function nodeTrouble(node) {
	if (node.state === NODE.DOWN) return { kind: "bad", text: "Down" };
	if (node.state === NODE.DISCONNECTED) return { kind: "bad", text: "Disconnected" };
	if (node.state === NODE.UNKNOWN) return { kind: "warn", text: "Not seen yet" };
	if (node.availability === 2) return { kind: "warn", text: "Drained" };
	if (node.availability === 1) return { kind: "warn", text: "Paused" };
	return null;
}

const updates = {
	1: { text: "Updating", kind: "go" }, 2: { text: "Update paused", kind: "bad" },
	4: { text: "Rolling back", kind: "warn" }, 5: { text: "Rollback paused", kind: "bad" }, 6: { text: "Rolled back", kind: "warn" },
};
// null: nothing is under way.
export const updateOf = (service) => (service.update && updates[service.update.state]) || null;
