/**
 * @file The page: a map with two layers of the same place, and a handle between them.
 */

/* global L */

import { loadConfig } from "./config.js";
import { labelOf, maxMapZoom, Side, tileLayer, toLatLngBounds } from "./layers.js";
import { format, parse } from "./permalink.js";
import { setUpShare } from "./share.js";
import { Swipe } from "./swipe.js";
import { showStatus, TileWatch } from "./watch.js";

const byId = (id) => document.getElementById(id);

function writeCaption(config) {
  document.title = `${config.name} · orthosharp`;
  byId("name").textContent = config.name;
  byId("ai-notice").textContent = config.ai_notice;
  byId("credit").textContent = config.credit;
}

function makeMap(config) {
  const map = L.map("map", {
    attributionControl: false, // the caption below the map has the credit, and is never collapsed
    zoomControl: false,
    minZoom: config.overview_zoom,
    maxZoom: maxMapZoom(config),
    maxBounds: toLatLngBounds(config.bounds).pad(0.5),
    maxBoundsViscosity: 0.7,
  });
  L.control.zoom({ position: "bottomright" }).addTo(map);
  L.control.scale({ position: "bottomleft", imperial: false }).addTo(map);
  addZoomNote(map, config);
  // Leaflet notices only the window's resizing, but the map also shrinks when the caption gets another line.
  new ResizeObserver(() => map.invalidateSize({ animate: false })).observe(map.getContainer());
  return map;
}

/** Shows the zoom, and whether its pixels have the network's own size; @2x tiles have those of the next zoom. */
function addZoomNote(map, config) {
  const note = L.DomUtil.create("div", "zoom-note");
  const control = L.control({ position: "bottomleft" });
  control.onAdd = () => note;
  control.addTo(map);
  map.on("zoomend", () => {
    const zoom = map.getZoom();
    const above = zoom + (L.Browser.retina ? 1 : 0) - config.native_zoom;
    note.textContent = `zoom ${zoom} · ${above === 0 ? "native size" : above < 0 ? "reduced" : "enlarged"}`;
  });
}

/** Fills the two selects; calls `changed` after either of them has changed. */
function setUpSelects(config, sides, changed) {
  for (const [id, side] of Object.entries(sides)) {
    byId(id).append(...config.layers.map((layer) => new Option(labelOf(layer), layer)));
    byId(id).addEventListener("change", (event) => {
      side.show(event.target.value);
      changed();
    });
  }
}

async function start() {
  const config = await loadConfig(document.baseURI);
  writeCaption(config);
  setUpShare(config);

  const map = makeMap(config);
  const watch = new TileWatch();
  showStatus(watch, { map: byId("map"), note: byId("status"), text: byId("status-text"), retry: byId("retry") });
  const sides = { left: new Side(map, config, "left", watch), right: new Side(map, config, "right", watch) };

  const [lng, lat, zoom] = config.center;
  const first = { zoom, lat, lng, left: "old", right: "restored", swipe: 50 };
  let swipe = null;

  const describe = () => {
    const shown = [sides.left.layer, sides.right.layer];
    swipe.describe(...shown.map(labelOf));
    byId("legend").hidden = !shown.includes("difference");
  };
  const open = (view) => {
    map.setView([view.lat, view.lng], view.zoom, { animate: false });
    swipe ??= new Swipe(map, byId("handle"), { left: sides.left.element, right: sides.right.element });
    swipe.percent = view.swipe;
    for (const [id, side] of Object.entries(sides)) {
      side.show(view[id]);
      byId(id).value = side.layer;
    }
    describe();
  };
  const save = () => {
    const { lat, lng } = map.getCenter();
    const view = { zoom: map.getZoom(), lat, lng, left: sides.left.layer, right: sides.right.layer };
    // replaceState, because moving the map must not fill the browser's history.
    history.replaceState(null, "", format({ ...view, swipe: swipe.percent }));
  };

  setUpSelects(config, sides, () => {
    describe();
    save();
  });
  // The old photo first: its tiles are fast, and browsers limit the number of concurrent requests.
  watch.follow(tileLayer(config, "old")).addTo(map);
  open(parse(location.hash, first));
  save();
  map.on("moveend", save);
  swipe.addEventListener("change", save);
  window.addEventListener("hashchange", () => open(parse(location.hash, first)));
}

start().catch((error) => {
  byId("status-text").textContent = `The map could not start. ${error.message} Reload the page to try again.`;
  byId("status").hidden = false;
});
