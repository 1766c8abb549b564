/**
 * @file The map and the buttons on it: zoom, whole photo, side by side, full screen, and the scale bar.
 */

/* global L */

import { maxMapZoom, toLatLngBounds } from "./layers.js";
import { say } from "./words.js";

const ICONS = {
  whole: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5M8 8h8v8H8z",
  beside: "M4 5h16v14H4zM12 5v14",
  full: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
};

/** Makes the map. */
export function makeMap(config) {
  const map = L.map("map", {
    attributionControl: false, // the caption below the map has the credit, and is never collapsed
    zoomControl: false,
    minZoom: Math.min(...groundOf(config).map((one) => one.overview_zoom)),
    maxZoom: Math.max(...groundOf(config).map(maxMapZoom)),
    maxBounds: wholeOf(config).pad(0.5),
    maxBoundsViscosity: 0.7,
  });
  // Leaflet's own position for its group is a corner: the last that is added comes on top.
  L.control
    .zoom({ position: "bottomright", zoomInTitle: say("zoom_in"), zoomOutTitle: say("zoom_out") })
    .addTo(map);
  L.control.scale({ position: "bottomleft", imperial: navigator.language === "en-US" }).addTo(map);
  addZoomNote(map, config);
  // Leaflet notices only the window's resizing, but the map also shrinks when the caption gets another line.
  new ResizeObserver(() => map.invalidateSize({ animate: false })).observe(map.getContainer());
  return map;
}

/** The ground of all years together. */
export function wholeOf(config) {
  const [first, ...others] = groundOf(config).map((one) => toLatLngBounds(one.bounds));
  return others.reduce((whole, one) => whole.extend(one), first);
}

function groundOf(config) {
  return config.years.length > 1 ? config.years : [config];
}

/**
 * Adds a bar with the buttons that change what is in view.
 *
 * @param {L.Map} map
 * @param {{whole: () => void, beside: import("./beside.js").Beside}} actions
 */
export function addButtons(map, { whole, beside }) {
  const bar = L.DomUtil.create("div", "leaflet-bar buttons");
  const button = (name, act) => {
    const made = L.DomUtil.create("button", "", bar);
    made.type = "button";
    made.title = say(name);
    made.setAttribute("aria-label", say(name));
    made.innerHTML = `<svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
    made.addEventListener("click", act);
    return made;
  };
  button("whole", whole);
  const two = button("beside", () => (beside.isWanted = !beside.isWanted));
  const show = () => {
    two.setAttribute("aria-pressed", String(beside.isOn));
    two.hidden = !beside.isPossible;
  };
  beside.addEventListener("change", show);
  show();
  if (document.fullscreenEnabled) {
    button("full", () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()));
  }
  L.DomEvent.disableClickPropagation(bar);
  const control = L.control({ position: "bottomright" });
  control.onAdd = () => bar;
  control.addTo(map);
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
