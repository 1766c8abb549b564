/**
 * @file Keeps count of tiles on their way, and asks again, patiently, for those that did not come.
 */

/** Waits before a failed tile is asked for again; a full server says 503 and is free again in seconds. */
const RETRY_AFTER_MS = [1500, 4000, 10000];

/**
 * Follows any number of Leaflet tile layers. Dispatches "change" whenever a count changes.
 */
export class TileWatch extends EventTarget {
  #pending = new Set();
  #failed = new Set();
  #tries = new WeakMap();
  #timers = new Map();

  /** Tiles that are on their way, those that wait for another try included. */
  get pending() {
    return this.#pending.size;
  }

  /** Tiles that were given up, after every try. */
  get failed() {
    return this.#failed.size;
  }

  /** Starts to follow a layer, and returns it. */
  follow(layer) {
    return layer
      .on("tileloadstart", ({ tile }) => this.#move(tile, this.#pending))
      .on("tileload", ({ tile }) => this.#move(tile, null))
      .on("tileerror", ({ tile }) => this.#again(tile))
      .on("tileunload tileabort", ({ tile }) => this.#move(tile, null));
  }

  /** Asks once more for every tile that was given up. */
  retry() {
    for (const tile of [...this.#failed]) {
      this.#tries.delete(tile);
      this.#move(tile, this.#pending);
      request(tile);
    }
  }

  #again(tile) {
    const tries = this.#tries.get(tile) ?? 0;
    if (tries >= RETRY_AFTER_MS.length) return this.#move(tile, this.#failed);
    this.#tries.set(tile, tries + 1);
    this.#move(tile, this.#pending);
    // Spread out, or all the tiles that a full server refused would come back in the same instant.
    const wait_ms = RETRY_AFTER_MS[tries] * (0.75 + 0.5 * Math.random());
    this.#timers.set(tile, setTimeout(request, wait_ms, tile));
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

/** Setting the address again makes the browser ask again; Leaflet's handlers are still on the tile. */
function request(tile) {
  tile.src = tile.getAttribute("src");
}

/**
 * Shows the counts: aria-busy on the map, and a note that says in words what is going on. The note waits a
 * moment before it speaks of loading, so that quick tiles do not make it flicker.
 *
 * @param {TileWatch} watch
 * @param {{map: HTMLElement, note: HTMLElement, text: HTMLElement, retry: HTMLElement}} elements
 */
export function showStatus(watch, { map, note, text, retry }) {
  const PATIENCE_MS = 700;
  let timer = 0;
  const speak = () => {
    timer = 0;
    const { pending, failed } = watch;
    if (pending) text.textContent = `Drawing ${count(pending)}…`;
    else if (failed) text.textContent = `${count(failed)} did not come; the old photo may show there.`;
    note.setAttribute("aria-live", pending ? "off" : "polite"); // nobody wants every tile read out
    retry.hidden = pending > 0 || failed === 0;
    note.hidden = pending === 0 && failed === 0;
  };
  watch.addEventListener("change", () => {
    map.setAttribute("aria-busy", String(watch.pending > 0));
    if (!watch.pending || !note.hidden) {
      clearTimeout(timer);
      speak();
    } else timer ||= setTimeout(speak, PATIENCE_MS);
  });
  retry.addEventListener("click", () => watch.retry());
}

function count(tiles) {
  return tiles === 1 ? "1 tile" : `${tiles} tiles`;
}
