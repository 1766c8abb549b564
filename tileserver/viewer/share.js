/**
 * @file The dialog with the tile URL for other programs.
 */

import { labelOf, leafletTemplate, maxMapZoom } from "./layers.js";

const PREFIX_UNKNOWN =
  "The server does not know the path of this page, so its TileJSON and WMTS name wrong addresses: " +
  "start it with --root-path, or let the proxy set X-Forwarded-Prefix.";

const byId = (id) => document.getElementById(id);

/**
 * Fills the dialog, and connects the button that opens it.
 *
 * @param {import("./config.js").Config} config
 */
export function setUpShare(config) {
  const select = byId("share-layer");
  select.append(...config.layers.map((layer) => new Option(labelOf(layer), layer)));
  select.value = "restored";
  byId("share-min").textContent = config.minzoom;
  byId("share-max").textContent = config.maxzoom;
  const fill = () => {
    byId("share-url").value = config.tiles[select.value];
    byId("share-code").value = leafletCode(config, select.value);
    byId("share-status").textContent = config.isPrefixKnown ? "" : PREFIX_UNKNOWN;
  };
  select.addEventListener("change", fill);
  byId("open-share").addEventListener("click", () => {
    fill();
    byId("share").showModal();
  });
  for (const button of document.querySelectorAll("[data-copies]")) {
    button.addEventListener("click", () => copy(byId(button.dataset.copies)));
  }
}

function leafletCode(config, layer) {
  const [west, south, east, north] = config.layerBounds[layer].map((degrees) => Number(degrees.toFixed(6)));
  const notes = layer === "restored" || layer === "difference" ? [config.credit, config.ai_notice] : [config.credit];
  return [
    `L.tileLayer(${JSON.stringify(leafletTemplate(config.tiles[layer]))}, {`,
    `  minZoom: ${config.minzoom},`,
    `  maxZoom: ${maxMapZoom(config)},`, // Leaflet's own is 18
    `  maxNativeZoom: ${config.maxzoom},`,
    `  bounds: [[${south}, ${west}], [${north}, ${east}]],`,
    `  attribution: ${JSON.stringify(notes.filter(Boolean).map(escapeHtml).join(" | "))},`,
    "}).addTo(map);",
  ].join("\n");
}

/** Escapes an attribution, which Leaflet inserts into the page as HTML. */
function escapeHtml(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** Copies a field, or selects its text where the clipboard is not available, as on pages without TLS. */
async function copy(field) {
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    byId("share-status").textContent = "Copied.";
  } catch {
    byId("share-status").textContent = "Selected. Press Ctrl+C (or ⌘C) to copy.";
  }
}
