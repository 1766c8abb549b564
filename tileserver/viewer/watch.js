/**
 * @file Counts the tiles that are loading, and requests failed ones again.
 */

/** Delays before a failed tile is requested again: an overloaded server answers 503 and recovers in seconds. */
const RETRY_AFTER_MS = [1500, 4000, 10000];

/**
 * Watches any number of Leaflet tile layers. Dispatches "change" whenever a count changes.
 */
export class TileWatch extends EventTarget {
  #pending = new Set();
  #failed = new Set();
  #tries = new WeakMap();
  #timers = new Map();

  /** Number of tiles that are loading or will be requested again. */
  get pending() {
    return this.#pending.size;
  }

  /** Number of tiles that failed at every attempt. */
  get failed() {
    return this.#failed.size;
  }

  /** Starts to watch a layer, and returns it. */
  follow(layer) {
    return layer
      .on("tileloadstart", ({ tile }) => this.#move(tile, this.#pending))
      .on("tileload", ({ tile }) => this.#move(tile, null))
      .on("tileerror", ({ tile }) => this.#retryLater(tile))
      .on("tileunload tileabort", ({ tile }) => this.#move(tile, null));
  }

  /** Requests all failed tiles again. */
  retry() {
    for (const tile of [...this.#failed]) {
      this.#tries.delete(tile);
      this.#move(tile, this.#pending);
      request(tile);
    }
  }

  #retryLater(tile) {
    const tries = this.#tries.get(tile) ?? 0;
    if (tries >= RETRY_AFTER_MS.length) return this.#move(tile, this.#failed);
    this.#tries.set(tile, tries + 1);
    this.#move(tile, this.#pending);
    // With jitter, so that the tiles that an overloaded server refused are not all requested again at once.
    const delay_ms = RETRY_AFTER_MS[tries] * (0.75 + 0.5 * Math.random());
    this.#timers.set(tile, setTimeout(request, delay_ms, tile));
  }

  #move(tile, set) {
    clearTimeout(this.#timers.get(tile));
    this.#timers.delete(tile);
    this.#pending.delete(tile);
    this.#failed.delete(tile);
    set?.add(tile);
    this.dispatchEvent(new Event("change"));
  }
}

/** Requests a tile again by setting its address; Leaflet's handlers are still attached. */
function request(tile) {
  tile.src = tile.getAttribute("src");
}

/**
 * Shows the counts: as aria-busy on the map, and as text in a note. The note appears with a delay, so that it does
 * not flicker when tiles load quickly.
 *
 * @param {TileWatch} watch
 * @param {{map: HTMLElement, note: HTMLElement, text: HTMLElement, retry: HTMLElement}} elements
 */
export function showStatus(watch, { map, note, text, retry }) {
  const DELAY_MS = 700;
  let timer = 0;
  const update = () => {
    timer = 0;
    const { pending, failed } = watch;
    if (pending) text.textContent = `Loading ${count(pending)}…`;
    else if (failed) text.textContent = `${count(failed)} could not be loaded; the old photo may show there instead.`;
    note.setAttribute("aria-live", pending ? "off" : "polite"); // screen readers should not read out every tile
    retry.hidden = pending > 0 || failed === 0;
    note.hidden = pending === 0 && failed === 0;
  };
  watch.addEventListener("change", () => {
    map.setAttribute("aria-busy", String(watch.pending > 0));
    if (!watch.pending || !note.hidden) {
      clearTimeout(timer);
      update();
    } else timer ||= setTimeout(update, DELAY_MS);
  });
  retry.addEventListener("click", () => watch.retry());
}

function count(tiles) {
  return tiles === 1 ? "1 tile" : `${tiles} tiles`;
}
