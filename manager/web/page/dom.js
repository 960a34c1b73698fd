// Elements and texts. Whatever comes from the cluster goes through textContent or setAttribute of harmless attributes:
// nothing that a container, a label or a log says can become markup.

export const byId = (id) => document.getElementById(id);

// el("p", { class: "soft", "aria-label": text, on: { click: f } }, "text", element, ...); null children are left out.
export function el(tag, attributes, ...children) {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes || {})) {
		if (name === "on")
			for (const [type, handler] of Object.entries(value)) element.addEventListener(type, handler);
		else if (value !== null && value !== undefined && value !== false)
			element.setAttribute(name, value === true ? (name.startsWith("aria-") ? "true" : "") : value);
	}
	fill(element, ...children);
	return element;
}

export function fill(element, ...children) {
	element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
	return element;
}

// Bring children into this order; what is not in the list goes. What is in its place already is not touched.
export function order(parent, children) {
	let at = parent.firstElementChild;
	for (const child of children) {
		if (child === at) at = at.nextElementSibling;
		else parent.insertBefore(child, at);
	}
	while (at) {
		const next = at.nextElementSibling;
		at.remove();
		at = next;
	}
}

const SVG = "http://www.w3.org/2000/svg";
export function svg(tag, attributes, ...children) {
	const element = document.createElementNS(SVG, tag);
	for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
	element.append(...children);
	return element;
}

// Assign only what differs: the browser then has nothing to do.
export function setText(element, text) {
	if (element.textContent !== text) element.textContent = text;
}
export function setAttr(element, name, value) {
	if (value === null || value === undefined || value === false) {
		if (element.hasAttribute(name)) element.removeAttribute(name);
	} else if (element.getAttribute(name) !== String(value)) {
		element.setAttribute(name, value);
	}
}

export const plural = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;
const grouped = new Intl.NumberFormat("en");
export const count = (n) => grouped.format(n);

export function bytes(n) {
	const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
	let unit = 0;
	for (; n >= 1024 && unit < units.length - 1; unit++) n /= 1024;
	return `${n >= 100 || unit === 0 ? Math.round(n) : n.toPrecision(n >= 10 ? 3 : 2).replace(/\.0$/, "")} ${units[unit]}`;
}

export const cores = (nano) => (nano / 1e9).toFixed(2).replace(/\.?0+$/, "") || "0";

export function span(ms) {
	const s = Math.max(0, Math.round(ms / 1000));
	if (s < 60) return `${s} s`;
	if (s < 3600) return `${Math.floor(s / 60)} min`;
	if (s < 48 * 3600) return `${Math.floor(s / 3600)} h`;
	return `${Math.floor(s / 86400)} days`;
}
// Clocks of hosts differ a little: nothing was in the future.
export const ago = (at) => (at ? `${span(Date.now() - at)} ago` : "");
export const lasting = (at) => (at ? `for ${span(Date.now() - at)}` : "");
export const clock = (at) => new Date(at).toLocaleTimeString("en-GB");
export const moment = (at) => (at ? new Date(at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" }) : "");

export const stillness = matchMedia("(prefers-reduced-motion: reduce)");

// "web2" before "web10".
export const byName = new Intl.Collator("en", { numeric: true }).compare;
