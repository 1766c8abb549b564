/**
 * @file A Leaflet layer whose tiles come from the queue of requests.
 */

/* global L */

/** Zooms that an enlarged restored tile stays for, once the photograph below it is whole: beyond, it is the blurrier. */
const KEPT_ZOOMS = 1;
/** Farther than any tile of a screen. */
const HIDDEN = 1e6;

/**
 * Options beside those of L.TileLayer:
 *   queue {RequestQueue}         where tiles are requested
 *   lane {"photo" | "network"}   its lane
 *   isHidden {(fromX: number, toX: number) => boolean}  whether the handle hides a tile, which is then requested last
 *   isFirst {boolean}            whether its tiles, which are few, are requested before all others
 *   base {QueuedTiles | null}    the layer that this one covers
 *
 * A tile that the server refuses stays wanted, so Leaflet keeps what it showed before in its place.
 */
export const QueuedTiles = L.TileLayer.extend({
  createTile(coords, done) {
    const tile = document.createElement("img");
    tile.alt = "";
    tile.cancel = this.options.queue.request(this.getTileUrl(coords), {
      lane: this.options.lane,
      distance: () => this._distance(coords),
      receive: (blob) => {
        tile.cancel = null;
        if (blob) showBlob(tile, blob, done);
        else done(null, tile);
      },
    });
    return tile;
  },

  /** Numbers of tiles in view, and of those that are loaded, and whether any tile of this layer is shown. */
  progress() {
    const found = { total: 0, done: 0, isShown: false };
    if (!this._map || this._tileZoom === undefined) return found;
    const range = this._pxBoundsToTileRange(this._getTiledPixelBounds(this._map.getCenter()));
    for (const { coords, current, loaded } of Object.values(this._tiles)) {
      if (loaded) found.isShown = true;
      if (!current || coords.z !== this._tileZoom || !range.contains(coords)) continue;
      found.total += 1;
      if (loaded) found.done += 1;
    }
    return found;
  },

  /** Distance of a tile from the map's centre, in tiles of the map's zoom; tiles that the swipe hides come last. */
  _distance(coords) {
    if (!this._map) return Infinity;
    const centre = this._map.project(this._map.getCenter(), coords.z).unscaleBy(this.getTileSize());
    const away = Math.max(Math.abs(coords.x + 0.5 - centre.x), Math.abs(coords.y + 0.5 - centre.y));
    const scale = 2 ** (this._map.getZoom() - coords.z);
    const side_px = this.getTileSize().x * scale;
    const left = coords.x * side_px - this._map.getPixelBounds().min.x;
    return away * (this.options.isFirst ? 0 : scale) + (this.options.isHidden?.(left, left + side_px) ? HIDDEN : 0);
  },

  _removeTile(key) {
    const tile = this._tiles[key]?.el;
    if (tile) forget(tile);
    return L.GridLayer.prototype._removeTile.call(this, key);
  },

  /** Drops what is requested for another zoom; loaded tiles stay until there is something in their place. */
  _abortLoading() {
    for (const [key, { el, coords, loaded }] of Object.entries(this._tiles)) {
      if (coords.z === this._tileZoom || loaded) continue;
      forget(el);
      el.remove();
      delete this._tiles[key];
      this.fire("tileabort", { tile: el, coords });
    }
  },

  _tileReady(coords, error, tile) {
    if (this._map) L.GridLayer.prototype._tileReady.call(this, coords, error, tile);
  },

  /** A restored tile enlarged many times must not hide the photograph, which is sharper. */
  _retainParent(x, y, z, minZoom) {
    const isCovered = this.options.base && this.options.base.isWhole();
    return L.GridLayer.prototype._retainParent.call(this, x, y, z, isCovered ? Math.max(minZoom, z - KEPT_ZOOMS) : minZoom);
  },

  /** Whether all tiles in view are loaded. */
  isWhole() {
    const { done, total } = this.progress();
    return total > 0 && done === total;
  },
});

function showBlob(tile, blob, done) {
  tile.onload = () => {
    URL.revokeObjectURL(tile.src);
    done(null, tile);
  };
  tile.onerror = () => {
    URL.revokeObjectURL(tile.src);
    done(new Error("not a picture"), tile);
  };
  tile.src = URL.createObjectURL(blob);
}

/** Cancels what is under way for a tile that is removed. */
function forget(tile) {
  tile.cancel?.();
  tile.cancel = tile.onload = tile.onerror = null;
  if (tile.src.startsWith("blob:")) URL.revokeObjectURL(tile.src);
}
