/**
 * @file The pictures on the map: the old photo underneath everywhere, and one layer on either side of the handle.
 */

/* global L */

const LABELS = { old: "Old photo", restored: "AI-restored", difference: "Difference", new: "New photo" };

/** Zooms that the browser may enlarge beyond the server's last one. */
const OVERZOOM = 2;

/** What a reader calls a layer. */
export function labelOf(layer) {
  return LABELS[layer] ?? layer;
}

/** The closest zoom that the map allows. */
export function closestZoom(config) {
  return config.maxzoom + OVERZOOM;
}

/** Corners as Leaflet wants them, from west, south, east, north. */
export function toLatLngBounds([west, south, east, north]) {
  return L.latLngBounds([south, west], [north, east]);
}

/**
 * A tile address for Leaflet. On a dense screen Leaflet writes "@2x" for {r}: the same tile at 512 px, and not,
 * as its own `detectRetina` would have it, four tiles of the next zoom.
 */
export function leafletTemplate(template) {
  return template.replace("{y}", "{y}{r}");
}

/**
 * One layer of tiles; asks for nothing outside the layer's bounds and the server's zooms.
 *
 * @param {import("./config.js").Config} config
 * @param {string} layer
 * @param {L.GridLayerOptions} options
 */
export function tileLayer(config, layer, options = {}) {
  return L.tileLayer(leafletTemplate(config.tiles[layer]), {
    bounds: toLatLngBounds(config.layerBounds[layer]),
    minZoom: config.minzoom,
    maxZoom: closestZoom(config),
    maxNativeZoom: config.maxzoom,
    minNativeZoom: config.minzoom,
    updateWhenZooming: false, // a passing zoom would cost inferences that nobody sees
    ...options,
  });
}

/**
 * One side of the handle: a pane that the swipe clips, and the layer in it.
 *
 * The old photo lies underneath the whole map, so a side that shows it needs no layer of its own, and a side whose
 * tiles are slow shows it until they come. A tile that has come is opaque (`side-tile` in style.css): where
 * the new photo has no data the reader sees the ground colour and never, by mistake, the old photo.
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

  /** The element that holds the tiles. */
  get element() {
    return this.#map.getPane(this.#pane);
  }

  /** Shows another layer; one that the server does not have is ignored. */
  show(layer) {
    if (layer === this.layer || !this.#config.layers.includes(layer)) return;
    this.#shown?.remove();
    this.#shown = layer === "old" ? null : tileLayer(this.#config, layer, { pane: this.#pane, className: "side-tile" });
    if (this.#shown) this.#watch.follow(this.#shown).addTo(this.#map);
    this.layer = layer;
  }
}
