/**
 * @file One side of the handle: a pane that the handle clips, with up to three layers of one map.
 *
 * At the bottom lies the whole photograph in a few tiles of a low zoom, which is there at once; on it the old photo,
 * and on that the layer that the side shows. So nothing is ever grey that the server has a picture of, and tiles that
 * are slow, refused or lost leave the old photo in their place. Loaded tiles are opaque (`side-tile` in style.css):
 * where the new photo has no data, the background shows, and not the old photo by mistake.
 */

import { isRestored, leafletTemplate, tileOptions } from "./layers.js";
import { QueuedTiles } from "./tiles.js";

/** Zooms below the one at which the photograph fits one tile, at which its overview is shown. */
const OVERVIEW_DEPTH = 1;

/** Dispatches "change" when tiles have come or gone. */
export class Side extends EventTarget {
  #map;
  #name;
  #queue;
  #isHidden;
  #frame = 0;
  #opacity = 1;
  #shown = []; // Leaflet's layers, from the bottom
  config = null;
  layer = null;

  /**
   * @param {L.Map} map
   * @param {"left" | "right"} name  also that of its pane
   * @param {import("./queue.js").RequestQueue} queue
   * @param {(name: string, fromX: number, toX: number) => boolean} isHidden  whether the handle hides these columns
   */
  constructor(map, name, queue, isHidden) {
    super();
    this.#map = map;
    this.#name = name;
    this.#queue = queue;
    this.#isHidden = isHidden;
    this.#makePane();
  }

  #makePane() {
    const pane = this.#map.getPane(this.#name) ?? this.#map.createPane(this.#name);
    pane.classList.add("side-pane");
    pane.style.clipPath = "";
  }

  /** Moves the side to another map. */
  moveTo(map) {
    for (const shown of this.#shown) shown.remove();
    this.#map = map;
    this.#makePane();
    for (const shown of this.#shown) shown.addTo(map);
    this.setOpacity(this.#opacity);
    this.#change();
  }

  /** Lets the old photo below shine through what is shown over it; from 0 to 1. */
  setOpacity(value) {
    this.#opacity = value;
    if (this.#shown.length !== 2) this.#shown.at(-1)?.setOpacity(value);
  }

  /** The DOM element that contains the tiles. */
  get element() {
    return this.#map.getPane(this.#name);
  }

  /** Shows a layer of a map; ignores one that the map does not have. */
  show(config, layer) {
    if (!config.layers.includes(layer) || (config === this.config && layer === this.layer)) return;
    for (const shown of this.#shown.splice(0)) shown.remove();
    Object.assign(this, { config, layer });
    const stack = config.layers.includes("old") ? [this.#overview(), this.#tiles("old")] : [];
    if (layer !== "old") stack.push(this.#tiles(layer, stack[1] ?? null));
    stack.forEach((tiles, index) => tiles.setZIndex(index + 1));
    // The overview is blurred beyond the photograph's edge, and is hidden once there is something better.
    const [overview, base] = stack;
    if (stack.length > 1) {
      base.on("loading", () => overview.setOpacity(1));
      base.on("load", () => {
        overview.setOpacity(0);
        stack[2]?._pruneTiles();
      });
    }
    this.#shown = stack;
    for (const tiles of stack) {
      tiles.on("tileload tileunload loading load", () => this.#change());
      tiles.addTo(this.#map);
    }
    this.setOpacity(this.#opacity);
  }

  /** Whether the network makes what is shown. */
  get isRestored() {
    return isRestored(this.layer);
  }

  /** Tiles in view of the photograph below, and of the layer that is shown. */
  get progress() {
    const top = this.#shown.at(-1).progress();
    return { photo: this.#shown.length > 1 ? this.#shown[1].progress() : top, top };
  }

  /** What the side shows at the moment: "whole", "partly", or only what is "standing_in". */
  get state() {
    const { top } = this.progress;
    if (top.done === top.total) return "whole";
    return top.isShown ? "partly" : "standing_in";
  }

  /** Says at most once for each picture on the screen that something changed. */
  #change() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.dispatchEvent(new Event("change"));
    });
  }

  #tiles(layer, base = null) {
    const { config } = this;
    // A map that has no photograph is an archive, whose tiles are ready.
    const isSlow = isRestored(layer) && config.layers.includes("old");
    return new QueuedTiles(leafletTemplate(config.tiles[layer]), {
      ...tileOptions(config, layer),
      pane: this.#name,
      className: layer === "old" ? "" : "side-tile",
      queue: this.#queue,
      lane: isSlow ? "network" : "photo",
      isHidden: (fromX, toX) => this.#isHidden(this.#name, fromX, toX),
      base,
    });
  }

  #overview() {
    const { config } = this;
    const zoom = Math.min(Math.max(config.minzoom, config.overview_zoom + OVERVIEW_DEPTH), config.maxzoom);
    return new QueuedTiles(leafletTemplate(config.tiles.old), {
      ...tileOptions(config, "old"),
      minNativeZoom: zoom,
      maxNativeZoom: zoom,
      isFirst: true,
      pane: this.#name,
      queue: this.#queue,
      lane: "photo",
    });
  }
}
