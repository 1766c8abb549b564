/**
 * @file The page: a map with two layers of the same place, and a handle between them.
 */

/* global L */

import { backoff_ms } from "./backoff.js";
import { loadConfig } from "./config.js";
import { labelOf, maxMapZoom, toLatLngBounds } from "./layers.js";
import { format, parse } from "./permalink.js";
import { RequestQueue } from "./queue.js";
import { setUpShare } from "./share.js";
import { Side } from "./sides.js";
import { showStatus } from "./status.js";
import { Swipe } from "./swipe.js";
import { loadWords, say } from "./words.js";

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
  L.control
    .zoom({ position: "bottomright", zoomInTitle: say("zoom_in"), zoomOutTitle: say("zoom_out") })
    .addTo(map);
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
    const size = above === 0 ? "size_native" : above < 0 ? "size_reduced" : "size_enlarged";
    note.textContent = `${say("zoom", { zoom })} · ${say(size)}`;
  });
}

/** Fills the two selects; calls `changed` after either of them has changed. */
function setUpSelects(config, sides, changed) {
  for (const [id, side] of Object.entries(sides)) {
    byId(id).append(...config.layers.map((layer) => new Option(labelOf(layer), layer)));
    byId(id).addEventListener("change", (event) => {
      side.show(config, event.target.value);
      changed();
    });
  }
}

/** Writes what each side shows at the moment: a restored layer is not called so while the old photo stands in. */
function labelSides(sides) {
  for (const [id, side] of Object.entries(sides)) {
    const isStandIn = side.isRestored && side.state !== "whole";
    const text = isStandIn ? say(side.state) : labelOf(side.layer);
    if (byId(`${id}-shown`).textContent !== text) byId(`${id}-shown`).textContent = text;
  }
}

async function start() {
  const config = await loadConfig(document.baseURI);
  byId("status").hidden = true;
  writeCaption(config);
  setUpShare(config);

  const map = makeMap(config);
  const queue = new RequestQueue();
  let swipe = null;
  const isHidden = (...where) => swipe !== null && swipe.hides(...where);
  const sides = { left: new Side(map, "left", queue, isHidden), right: new Side(map, "right", queue, isHidden) };
  const note = { map: byId("map"), note: byId("status"), text: byId("status-text"), retry: byId("retry") };
  showStatus(queue, Object.values(sides), note);
  for (const side of Object.values(sides)) side.addEventListener("change", () => labelSides(sides));

  const [lng, lat, zoom] = config.center;
  const first = { zoom, lat, lng, left: config.layers[0], right: "restored", swipe: 50 };

  const describe = () => {
    const shown = [sides.left.layer, sides.right.layer];
    swipe.describe(...shown.map(labelOf));
    byId("legend").hidden = !shown.includes("difference");
    labelSides(sides);
  };
  let isOpening = false;
  const open = (view) => {
    isOpening = true; // moving the map must not save a view that is half opened
    map.setView([view.lat, view.lng], view.zoom, { animate: false });
    swipe ??= new Swipe(map, byId("handle"), { left: sides.left.element, right: sides.right.element });
    swipe.percent = view.swipe;
    for (const [id, side] of Object.entries(sides)) {
      side.show(config, config.layers.includes(view[id]) ? view[id] : first[id]);
      byId(id).value = side.layer;
    }
    describe();
    isOpening = false;
    save();
  };
  const save = () => {
    if (isOpening) return;
    const { lat, lng } = map.getCenter();
    const view = { zoom: map.getZoom(), lat, lng, left: sides.left.layer, right: sides.right.layer };
    // replaceState, because moving the map must not fill the browser's history.
    history.replaceState(null, "", format({ ...view, swipe: swipe.percent }));
  };

  setUpSelects(config, sides, () => {
    describe();
    save();
  });
  open(parse(location.hash, first));
  map.on("moveend", save);
  swipe.addEventListener("change", save);
  window.addEventListener("hashchange", () => open(parse(location.hash, first)));
}

/** Starts, and tries again while the server does not answer. */
async function keepStarting(attempt) {
  try {
    await start();
  } catch (error) {
    byId("status-text").textContent = say("no_start", { reason: error.message });
    byId("status").hidden = false;
    if (error.isTemporary) setTimeout(keepStarting, backoff_ms(attempt), attempt + 1);
  }
}

await loadWords(navigator.languages);
await keepStarting(1);
