/**
 * @file What the layers of a map are called, and how Leaflet is to request their tiles.
 */

/* global L */

import { say } from "./words.js";

/** Layers whose pixels come from the network. */
const AI_LAYERS = ["restored", "difference"];
/** Zooms beyond the server's last one, at which the browser enlarges tiles. */
const OVERZOOM = 2;

/** The label of a layer; with the map's configuration, the year stands in it. */
export function labelOf(layer, config = {}) {
  const year = layer === "new" ? config.new_year : config.year;
  return year ? say("of_year", { year, what: say(layer) }) : say(layer);
}

/** Who made the restored layer of a map, in words. */
export function noticeOf({ ai_model: { name, digest } }) {
  return say("ai_notice", { model: name, digest });
}

/** Whether the network makes a layer. */
export function isRestored(layer) {
  return AI_LAYERS.includes(layer);
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
 * Options for a Leaflet layer that requests no tile outside the layer's bounds and the server's zooms.
 *
 * @param {import("./config.js").Config} config
 * @param {string} layer
 */
export function tileOptions(config, layer) {
  return {
    bounds: toLatLngBounds(config.layerBounds[layer]),
    minZoom: config.minzoom,
    maxZoom: maxMapZoom(config),
    maxNativeZoom: config.maxzoom,
    minNativeZoom: config.minzoom,
    updateWhenZooming: false, // tiles of the zooms passed through would cost inferences in vain
  };
}
