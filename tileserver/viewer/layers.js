/**
 * @file The layers on the map: the old photo everywhere at the bottom, and one layer on each side of the handle.
 */

/* global L */

const LABELS = { old: "Old photo", restored: "AI-restored", difference: "Difference", new: "New photo" };

/** Zooms beyond the server's last one, at which the browser enlarges tiles. */
const OVERZOOM = 2;

/** The label of a layer. */
export function labelOf(layer) {
  return LABELS[layer] ?? layer;
}

/** The map's largest zoom. */
export function maxMapZoom(config) {
  return config.maxzoom + OVERZOOM;
}

/** Converts west, south, east, north to Leaflet's bounds. */
export function toLatLngBounds([west, south, east, north]) {
  return L.latLngBounds([south, west], [north, east]);
}

/**
 * A URL template for Leaflet, which replaces {r} by "@2x" on a high-density screen: the same tile at 512 px,
 * where Leaflet's own `detectRetina` would load four tiles of the next zoom.
 */
export function leafletTemplate(template) {
  return template.replace("{y}", "{y}{r}");
}

/**
 * A Leaflet layer that requests no tile outside the layer's bounds and the server's zooms.
 *
 * @param {import("./config.js").Config} config
 * @param {string} layer
 * @param {L.GridLayerOptions} options
 */
export function tileLayer(config, layer, options = {}) {
  return L.tileLayer(leafletTemplate(config.tiles[layer]), {
    bounds: toLatLngBounds(config.layerBounds[layer]),
    minZoom: config.minzoom,
    maxZoom: maxMapZoom(config),
    maxNativeZoom: config.maxzoom,
    minNativeZoom: config.minzoom,
    updateWhenZooming: false, // tiles of the zooms passed through would cost inferences in vain
    ...options,
  });
}

/**
 * One side of the handle: a pane that the handle clips, and the layer in it.
 *
 * The old photo lies at the bottom of the whole map, so a side that shows it needs no layer of its own, and a side
 * whose tiles are slow shows it until they are loaded. Loaded tiles are opaque (`side-tile` in style.css): where
 * the new photo has no data, the background shows, and not the old photo by mistake.
 */
export class Side {
  #map;
  #config;
  #pane;
  #watch;
  #shown = null;
  layer = "old";

  constructor(map, config, pane, watch) {
    this.#map = map;
    this.#config = config;
    this.#pane = pane;
    this.#watch = watch;
    map.createPane(pane).classList.add("side-pane");
  }

  /** The DOM element that contains the tiles. */
  get element() {
    return this.#map.getPane(this.#pane);
  }

  /** Shows another layer; ignores one that the server does not have. */
  show(layer) {
    if (layer === this.layer || !this.#config.layers.includes(layer)) return;
    this.#shown?.remove();
    this.#shown = layer === "old" ? null : tileLayer(this.#config, layer, { pane: this.#pane, className: "side-tile" });
    if (this.#shown) this.#watch.follow(this.#shown).addTo(this.#map);
    this.layer = layer;
  }
}
