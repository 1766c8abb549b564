/**
 * @file The handle: a slider that clips the left pane and the right pane at the same line.
 */

/* global L */

const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };

/**
 * Dispatches "change" when the handle has come to rest at another place.
 */
export class Swipe extends EventTarget {
  #map;
  #handle;
  #panes;
  #percent = 50;

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
    // Panes move with the map, so the line is put back in its place whenever they do.
    map.on("move zoom viewreset resize", () => this.#draw());
    this.#listen();
    this.#draw();
  }

  /** Where the line stands: 0 is the left edge of the map, 100 its right edge. */
  get percent() {
    return this.#percent;
  }

  set percent(value) {
    this.#percent = Math.min(100, Math.max(0, Math.round(value * 10) / 10));
    this.#draw();
  }

  /** Says in words what is on either side, for those who cannot see it. */
  describe(left, right) {
    this.#panes.words = `${left} on the left, ${right} on the right`;
    this.#draw();
  }

  #draw() {
    const size = this.#map.getSize();
    const x = Math.round((size.x * this.#percent) / 100);
    this.#handle.style.left = `${x}px`;
    this.#handle.setAttribute("aria-valuenow", String(Math.round(this.#percent)));
    this.#handle.setAttribute("aria-valuetext", `${Math.round(this.#percent)} %: ${this.#panes.words ?? ""}`);
    const from = this.#map.containerPointToLayerPoint([0, 0]);
    const to = this.#map.containerPointToLayerPoint(size);
    this.#panes.left.style.clipPath = rectangle(from.x, from.y, from.x + x, to.y);
    this.#panes.right.style.clipPath = rectangle(from.x + x, from.y, to.x, to.y);
  }

  #listen() {
    const handle = this.#handle;
    // The map must not move along with the handle; its wheel zoom may still pass through.
    L.DomEvent.disableClickPropagation(handle);
    let grip_px = null; // how far from the line the handle was taken
    handle.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      handle.setPointerCapture(event.pointerId);
      grip_px = event.clientX - (this.#map.getSize().x * this.#percent) / 100;
    });
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

/** A clip path in pixels. A pane has no size of its own, so `inset()` would have nothing to measure from. */
function rectangle(left, top, right, bottom) {
  return `polygon(${left}px ${top}px, ${right}px ${top}px, ${right}px ${bottom}px, ${left}px ${bottom}px)`;
}
