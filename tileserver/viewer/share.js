/**
 * @file The dialog with the tile URL for other programs.
 */

import { isRestored, labelOf, leafletTemplate, maxMapZoom, noticeOf } from "./layers.js";
import { say } from "./words.js";

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
  byId("share-qgis").textContent = say("share_qgis", { min: config.minzoom, max: config.maxzoom });
  for (const part of document.querySelectorAll(".share-files")) part.hidden = !config.has_files;
  const fill = () => {
    byId("share-url").value = config.tiles[select.value];
    byId("share-code").value = leafletCode(config, select.value);
    byId("share-openlayers").value = openLayersCode(config, select.value);
    const [base] = config.tiles[select.value].split("/tiles/");
    const map = base.slice(0, base.lastIndexOf("/"));
    byId("share-qlr").href = `${base}/layer.qlr`;
    byId("share-qgs").href = `${map}/project.qgs`;
    byId("share-gdal").href = `${base}/gdal_wms.xml`;
    byId("share-josm").href = `${base}/josm.xml`;
    byId("share-id").href = `${base}/imagery.geojson`;
    byId("share-stac").href = `${map}/item.json`;
    byId("share-status").textContent = config.isPrefixKnown ? "" : say("share_prefix");
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

/** The credit and the AI notice of a layer, as HTML. */
function attributionOf(config, layer) {
  const notes = isRestored(layer) ? [config.credit, noticeOf(config)] : [config.credit];
  return JSON.stringify(notes.filter(Boolean).map(escapeHtml).join(" | "));
}

function roundedBounds(config, layer) {
  return config.layerBounds[layer].map((degrees) => Number(degrees.toFixed(6)));
}

function openLayersCode(config, layer) {
  return [
    "map.addLayer(new ol.layer.Tile({",
    `  extent: ol.proj.transformExtent([${roundedBounds(config, layer).join(", ")}], "EPSG:4326", "EPSG:3857"),`,
    "  source: new ol.source.XYZ({",
    `    url: ${JSON.stringify(config.tiles[layer])},`,
    `    minZoom: ${config.minzoom},`,
    `    maxZoom: ${config.maxzoom},`,
    `    attributions: ${attributionOf(config, layer)},`,
    "  }),",
    "}));",
  ].join("\n");
}

function leafletCode(config, layer) {
  const [west, south, east, north] = roundedBounds(config, layer);
  return [
    `L.tileLayer(${JSON.stringify(leafletTemplate(config.tiles[layer]))}, {`,
    `  minZoom: ${config.minzoom},`,
    `  maxZoom: ${maxMapZoom(config)},`, // Leaflet's own is 18
    `  maxNativeZoom: ${config.maxzoom},`,
    `  bounds: [[${south}, ${west}], [${north}, ${east}]],`,
    `  attribution: ${attributionOf(config, layer)},`,
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
    byId("share-status").textContent = say("copied");
  } catch {
    byId("share-status").textContent = say("selected");
  }
}
