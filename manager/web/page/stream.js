// Server-sent events by fetch: unlike EventSource it sends a header with the session's key and says why it was refused.

const KEY = "skein-key";

export const session = {
	get key() { return localStorage.getItem(KEY) || ""; },
	set key(value) { value ? localStorage.setItem(KEY, value) : localStorage.removeItem(KEY); },
};

export class SignedOut extends Error {}

const ANSWER_MS = 15000; // of an answer as a whole; streams bring a signal of their own

// A DOMException's words are the browser's; this one is for people.
const told = (error) => (error.name === "TimeoutError" ? new Error(`the manager did not answer within ${ANSWER_MS / 1000} seconds`) : error);

export async function ask(path, options = {}) {
	const response = await fetch(path, {
		signal: AbortSignal.timeout(ANSWER_MS), ...options, cache: "no-store", redirect: "error",
		headers: { "X-Skein-Key": session.key, ...options.headers },
	}).catch((error) => { throw told(error); });
	if (response.status === 401) throw new SignedOut();
	return response;
}

export async function askJson(path, options) {
	const response = await ask(path, options);
	const body = await response.json().catch((error) => {
		if (error.name === "SyntaxError") return {};
		throw told(error);
	});
	if (!response.ok) throw new Error(body.error || `the manager answered ${response.status}`);
	return body;
}

// Lines of the answer, then events of lines (WHATWG HTML 9.2.6).
async function read(response, onEvent, onBytes) {
	const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
	let rest = "", event = { type: "message", id: null, data: [] };
	for (;;) {
		const { value, done } = await reader.read();
		if (done) return;
		onBytes();
		const lines = (rest + value).split("\n");
		rest = lines.pop();
		for (const line of lines) {
			if (line === "") {
				if (event.data.length) onEvent(event.type, JSON.parse(event.data.join("\n")), event.id);
				event = { type: "message", id: null, data: [] };
			} else if (line.startsWith("data: ")) event.data.push(line.slice(6));
			else if (line.startsWith("event: ")) event.type = line.slice(7);
			else if (line.startsWith("id: ")) event.id = line.slice(4);
		}
	}
}

const SILENCE_MS = 40000; // the manager says something every 15 seconds

/*
 * A stream that is opened again when it breaks, where it was. Handlers: event(type, data), state(name, why) with
 * "connecting", "live", "broken", "signed-out", "ended".
 */
export class Stream {
	constructor(path, handlers) {
		this.path = path;
		this.on = handlers;
		this.lastId = null;
		this.tries = 0;
		this.wanted = false;
	}

	start() {
		if (this.wanted) return this;
		this.wanted = true;
		this.run();
		return this;
	}

	stop() {
		this.wanted = false;
		this.abort?.abort();
		this.abort = null; // what is still under way for it is over, also when it is started again before it has noticed
		clearTimeout(this.timer);
		this.timer = null;
	}

	// Try at once: the network is back, or somebody looks.
	hurry() {
		if (!this.wanted || !this.timer) return;
		clearTimeout(this.timer);
		this.run();
	}

	async run() {
		this.timer = null;
		const abort = (this.abort = new AbortController());
		let silence;
		const heard = () => {
			clearTimeout(silence);
			silence = setTimeout(() => abort.abort(new Error("the manager is silent")), SILENCE_MS);
		};
		let why = "the connection ended";
		try {
			heard();
			this.on.state("connecting");
			const response = await ask(this.path, { signal: abort.signal, headers: this.lastId ? { "Last-Event-ID": this.lastId } : {} });
			if (!response.ok) {
				const body = await response.json().catch(() => ({}));
				const error = new Error(body.error || `the manager answered ${response.status}`);
				error.final = response.status === 404;
				throw error;
			}
			this.tries = 0;
			this.on.state("live");
			await read(response, (type, data, id) => this.abort === abort && this.event(type, data, id), heard);
		} catch (error) {
			if (this.abort !== abort) return;
			if (error instanceof SignedOut) return this.end("signed-out");
			if (error.final) return this.end("ended", error.message);
			why = error.name === "TypeError" ? "the manager is not reached" : error.message;
		} finally {
			clearTimeout(silence);
		}
		if (this.abort !== abort) return;
		this.on.state("broken", why);
		const wait = Math.min(10000, 400 * 2 ** this.tries++) * (0.75 + Math.random() / 2);
		this.timer = setTimeout(() => this.run(), wait);
	}

	event(type, data, id) {
		if (!this.wanted) return;
		if (id !== null) this.lastId = id;
		if (type === "end") this.end("ended", data.error);
		else if (type === "signed-out") this.end("signed-out");
		else this.on.event(type, data);
	}

	end(state, why) {
		this.stop();
		this.on.state(state, why);
	}
}
