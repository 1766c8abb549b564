/**
 * @file Two maps side by side in place of the handle, with linked views and cursors, on screens that are wide enough.
 */

/* global L */

/** Below, two maps are narrower than a phone. */
const WIDE = matchMedia("(min-width: 900px)");

/** Dispatches "change" when the mode has changed by itself, with the window's width. */
export class Beside extends EventTarget {
  #map;
  #other = null;
  #right;
  #isWanted = false;

  /**
   * @param {L.Map} map  the map with the handle, which becomes the left one
   * @param {import("./sides.js").Side} right  the side that moves to the right map
   */
  constructor(map, right) {
    super();
    this.#map = map;
    this.#right = right;
    WIDE.addEventListener("change", () => this.#apply());
  }

  /** Whether two maps are shown. */
  get isOn() {
    return this.#other !== null;
  }

  /** Whether there is room for two maps. */
  get isPossible() {
    return WIDE.matches;
  }

  /** Shows two maps, or one; where there is no room, two once there is. */
  set isWanted(value) {
    this.#isWanted = value;
    this.#apply();
  }

  get isWanted() {
    return this.#isWanted;
  }

  #apply() {
    const isOn = this.#isWanted && WIDE.matches;
    if (isOn !== this.isOn) {
      document.body.classList.toggle("beside", isOn);
      if (isOn) this.#open();
      else this.#close();
      this.#map.invalidateSize({ animate: false });
    }
    this.dispatchEvent(new Event("change"));
  }

  #open() {
    const { minZoom, maxZoom, maxBounds, maxBoundsViscosity } = this.#map.options;
    this.#map.invalidateSize({ animate: false });
    this.#other = L.map("map-right", {
      ...{ minZoom, maxZoom, maxBounds, maxBoundsViscosity },
      attributionControl: false,
      zoomControl: false,
      zoomAnimation: false,
    });
    if (this.#map._loaded) this.#other.setView(this.#map.getCenter(), this.#map.getZoom(), { animate: false });
    new ResizeObserver(() => this.#other?.invalidateSize({ animate: false })).observe(this.#other.getContainer());
    this.#right.moveTo(this.#other);
    link(this.#map, this.#other);
    link(this.#other, this.#map);
  }

  #close() {
    this.#right.moveTo(this.#map);
    this.#map.off("move", this.#map.follower).off("mousemove mouseout", this.#map.pointer);
    this.#other.remove();
    this.#other = null;
  }
}

/** Lets another map follow a map's view, and shows where the cursor is there. */
function link(map, other) {
  const cross = L.DomUtil.create("div", "cross", other.getContainer());
  cross.hidden = true;
  cross.setAttribute("aria-hidden", "true");
  map.follower = () => {
    if (map.isFollowing || !map._loaded) return;
    other.isFollowing = true;
    other.setView(map.getCenter(), map.getZoom(), { animate: false });
    other.isFollowing = false;
  };
  map.pointer = (event) => {
    cross.hidden = event.type === "mouseout";
    if (!cross.hidden) L.DomUtil.setPosition(cross, other.latLngToContainerPoint(event.latlng));
  };
  map.on("move", map.follower).on("mousemove mouseout", map.pointer);
}
