/**
 * @file The dialog that gives the tile address for other programs.
 */

import { labelOf, leafletTemplate } from "./layers.js";

const byId = (id) => document.getElementById(id);

/**
 * Fills the dialog and opens it from its button.
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
    byId("share-said").textContent = "";
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
    `  maxNativeZoom: ${config.maxzoom},`,
    `  bounds: [[${south}, ${west}], [${north}, ${east}]],`,
    `  attribution: ${JSON.stringify(notes.filter(Boolean).map(escapeHtml).join(" | "))},`,
    "}).addTo(map);",
  ].join("\n");
}

/** Leaflet puts an attribution into the page as it is. */
function escapeHtml(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** Copies a field. The clipboard is closed to pages without TLS, so there the text is at least marked. */
async function copy(field) {
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    byId("share-said").textContent = "Copied.";
  } catch {
    byId("share-said").textContent = "Marked: press Ctrl+C (or ⌘C) to copy.";
  }
}
