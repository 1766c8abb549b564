/**
 * @file The handle: a slider that clips the left and the right pane along one line.
 */

/* global L */

import { say } from "./words.js";

const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };

/**
 * Dispatches "change" when the handle has been moved and released.
 */
export class Swipe extends EventTarget {
  #map;
  #handle;
  #panes;
  #percent = 50;
  #isOff = false;

  /**
   * @param {L.Map} map
   * @param {HTMLElement} handle  an element with role=slider inside the map
   * @param {{left: HTMLElement, right: HTMLElement}} panes
   */
  constructor(map, handle, panes) {
    super();
    this.#map = map;
    this.#handle = handle;
    this.#panes = panes;
    // Panes move with the map, so they must be clipped again whenever the map moves.
    map.on("move zoom viewreset resize", () => this.#draw());
    this.#listen();
    this.#draw();
  }

  /** Position of the line: 0 is the left edge of the map, 100 its right edge. */
  get percent() {
    return this.#percent;
  }

  set percent(value) {
    this.#percent = Math.min(100, Math.max(0, Math.round(value * 10) / 10));
    this.#draw();
  }

  /** Without the handle, both panes are shown as a whole. */
  set isOff(value) {
    this.#isOff = value;
    this.#handle.hidden = value;
    this.#draw();
  }

  /** Whether a side's pane is clipped away between two columns of the map, in pixels. */
  hides(name, fromX, toX) {
    if (this.#isOff) return false;
    const line = (this.#map.getSize().x * this.#percent) / 100;
    return name === "left" ? fromX > line : toX < line;
  }

  /** Sets the text that screen readers read out. */
  describe(left, right) {
    this.#panes.description = say("swipe_sides", { left, right });
    this.#draw();
  }

  #draw() {
    const size = this.#map.getSize();
    const x = Math.round((size.x * this.#percent) / 100);
    this.#handle.style.left = `${x}px`;
    this.#handle.setAttribute("aria-valuenow", String(Math.round(this.#percent)));
    this.#handle.setAttribute("aria-valuetext", `${Math.round(this.#percent)} %: ${this.#panes.description ?? ""}`);
    if (this.#isOff) {
      this.#panes.left.style.clipPath = this.#panes.right.style.clipPath = "";
      return;
    }
    const from = this.#map.containerPointToLayerPoint([0, 0]);
    const to = this.#map.containerPointToLayerPoint(size);
    this.#panes.left.style.clipPath = rectangle(from.x, from.y, from.x + x, to.y);
    this.#panes.right.style.clipPath = rectangle(from.x + x, from.y, to.x, to.y);
  }

  #listen() {
    const handle = this.#handle;
    // Dragging the handle must not move the map; the wheel may still zoom it, and two fingers as well.
    L.DomEvent.on(handle, "click dblclick contextmenu mousedown", L.DomEvent.stopPropagation);
    handle.addEventListener("touchstart", (event) => event.touches.length > 1 || event.stopPropagation());
    let grip_px = null; // distance of the pointer from the line while the handle is dragged
    let before = 0;
    handle.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !event.isPrimary) return;
      handle.setPointerCapture(event.pointerId);
      before = this.#percent;
      grip_px = event.clientX - (this.#map.getSize().x * this.#percent) / 100;
    });
    // A second finger makes it a pinch: the handle goes back to where it was.
    document.addEventListener(
      "pointerdown",
      (event) => {
        if (event.isPrimary || grip_px === null) return;
        grip_px = null;
        this.percent = before;
      },
      true,
    );
    handle.addEventListener("pointermove", (event) => {
      if (grip_px !== null) this.percent = ((event.clientX - grip_px) / this.#map.getSize().x) * 100;
    });
    handle.addEventListener("lostpointercapture", () => {
      grip_px = null;
      this.dispatchEvent(new Event("change"));
    });
    handle.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    const step = STEPS[event.key] * (event.shiftKey && event.key.startsWith("Arrow") ? 10 : 1);
    if (event.key === "Home") this.percent = 0;
    else if (event.key === "End") this.percent = 100;
    else if (step) this.percent += step;
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.dispatchEvent(new Event("change"));
  }
}

/** Returns a clip path in pixels; `inset()` would not work, because a pane has no size of its own. */
function rectangle(left, top, right, bottom) {
  return `polygon(${left}px ${top}px, ${right}px ${top}px, ${right}px ${bottom}px, ${left}px ${bottom}px)`;
}
