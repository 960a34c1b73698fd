// Tiles that move: where a tile was before a change, where it is after it, and the way between (FLIP). A task that takes
// over a slot comes from where the slot's last task was.

import { stillness } from "./dom.js";

const MS = 420, EASE = "cubic-bezier(.22,.8,.26,1)";
const MAX = 400; // more than this at once is not movement but noise

export class Flight {
	constructor() {
		this.from = new Map();     // tile -> where it was
		this.slots = new Map();    // slot -> where its last tile was seen
		this.fresh = [];           // tiles that have just been made
		this.gone = [];            // where tiles were that are gone
	}

	get still() {
		return stillness.matches || document.hidden;
	}

	before(tiles) {
		this.from.clear();
		this.slots.clear();
		if (this.still || tiles.length > MAX) return;
		for (const tile of tiles) {
			const box = tile.getBoundingClientRect();
			this.from.set(tile, box);
			this.slots.set(tile.task.key, box);
		}
	}

	arrives(tile, slot) {
		this.fresh.push([tile, slot]);
	}
	leaves(tile, state) {
		const box = this.from.get(tile);
		if (box) this.gone.push([tile, box, state]);
	}

	after() {
		if (!this.still) {
			const fresh = new Map(this.fresh);
			// All is measured before anything moves.
			const moves = [...this.from].filter(([tile]) => tile.isConnected).map(([tile, was]) => [tile, was, tile.getBoundingClientRect()]);
			const births = [...fresh].filter(([tile]) => tile.isConnected).slice(0, MAX).map(([tile, slot]) => [tile, this.slots.get(slot), tile.getBoundingClientRect()]);
			for (const [tile, was, is] of moves) this.glide(tile, was, is, 1);
			for (const [tile, was, is] of births) was ? this.glide(tile, was, is, 0.4) : this.appear(tile);
			for (const [tile, box] of this.gone.slice(0, MAX)) this.fade(tile, box);
		}
		this.settle();
	}

	settle() {
		this.fresh = [];
		this.gone = [];
	}

	glide(tile, was, is, opacity) {
		const dx = was.x - is.x, dy = was.y - is.y;
		if (Math.abs(dx) < 1 && Math.abs(dy) < 1 && opacity === 1) return;
		tile.animate([{ transform: `translate(${dx}px, ${dy}px)`, opacity, zIndex: 2 }, { transform: "none", opacity: 1, zIndex: 2 }],
			{ duration: MS, easing: EASE });
	}
	appear(tile) {
		tile.animate([{ transform: "scale(.6)", opacity: 0 }, { transform: "none", opacity: 1 }], { duration: MS * 0.7, easing: EASE });
	}
	fade(tile, box) {
		const ghost = tile.cloneNode(true);
		ghost.classList.add("ghost");
		ghost.setAttribute("aria-hidden", "true");
		Object.assign(ghost.style, { left: `${box.x}px`, top: `${box.y}px`, width: `${box.width}px`, height: `${box.height}px` });
		document.body.append(ghost);
		ghost.animate([{ opacity: 1 }, { transform: "scale(.8)", opacity: 0 }], { duration: MS, easing: "ease-in" }).finished.finally(() => ghost.remove());
	}
}
