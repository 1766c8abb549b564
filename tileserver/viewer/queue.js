/**
 * @file The queue of tile requests: photographs before what a network has to make, nearest to the centre first.
 *
 * A browser opens six connections to a server. Left alone, it fills them in the order of the page's elements, and
 * tiles that cost nothing wait behind tiles that take seconds.
 */

import { backoff_ms, retryAfter_ms } from "./backoff.js";

/** Concurrent requests by lane, in the order of the lanes. */
const LIMITS = { photo: 6, network: 4 };
const CONNECTIONS = 6;
/** Longer than a server's own deadline: a connection that says nothing for so long is lost. */
const DEADLINE_MS = 90_000;
/** Refused requests that are made again at once when the server answers another: the more it answers, the more. */
const WOKEN = 4;
/** Refusals after which waits begin to grow: until then they are as long as the server says, which knows its load. */
const TRUSTED = 3;
/** Attempts after which a tile counts as failed; it is still requested again, ever more rarely. */
const FAILED_AFTER = 3;
/** What X-Orthosharp says of a photograph's tile in place of a restored one. */
const NOT_RESTORED = "old photograph";

/**
 * @typedef {object} Receiver
 * @property {"photo" | "network"} lane
 * @property {() => number} distance  from the centre of the map, in tiles; asked whenever a connection is free
 * @property {(tile: Blob | null) => void} receive  gets the tile, or null where there is none
 */

/**
 * What the queue as a whole has to say.
 *
 * @typedef {object} QueueState
 * @property {"ok" | "busy" | "unreachable" | "offline" | "failed"} server
 * @property {number} pending  requests that wait, run, or will be made again
 * @property {number} failed   requests that failed several times
 */

/** Dispatches "change" whenever its state may have changed. */
export class RequestQueue extends EventTarget {
  #jobs = new Map(); // by URL
  #outage = null;
  #isPumping = false;

  constructor() {
    super();
    addEventListener("online", () => this.retry());
    document.addEventListener("visibilitychange", () => document.hidden || this.#probe());
  }

  /** @returns {QueueState} */
  get state() {
    const jobs = [...this.#jobs.values()];
    const failed = jobs.filter((job) => job.attempt >= FAILED_AFTER && !job.isRefused).length;
    const isRefused = jobs.some((job) => job.isRefused);
    const server = this.#outage ? (navigator.onLine ? "unreachable" : "offline") : isRefused ? "busy" : failed ? "failed" : "ok";
    return { server, failed, pending: jobs.length - failed };
  }

  /**
   * Requests a tile. Requests for the same address share one.
   *
   * @param {string} url
   * @param {Receiver} receiver
   * @returns {() => void} cancels the request
   */
  request(url, receiver) {
    let job = this.#jobs.get(url);
    if (!job) {
      job = { url, lane: receiver.lane, receivers: new Set(), attempt: 0, isRefused: false, state: "waiting" };
      this.#jobs.set(url, job);
    }
    job.receivers.add(receiver);
    this.#pump();
    return () => this.#leave(job, receiver);
  }

  /** Makes all requests that wait for another attempt at once. */
  retry() {
    for (const job of this.#jobs.values()) {
      if (job.state !== "delayed") continue;
      Object.assign(job, { state: "waiting", attempt: 0, isRefused: false });
      clearTimeout(job.timer);
    }
    this.#probe();
    this.#pump();
  }

  #leave(job, receiver) {
    job.receivers.delete(receiver);
    if (job.receivers.size === 0 && this.#jobs.get(job.url) === job) this.#drop(job);
  }

  #drop(job) {
    this.#jobs.delete(job.url);
    clearTimeout(job.timer);
    job.controller?.abort();
    if (this.#outage?.probe === job) {
      this.#outage.probe = null;
      this.#probe();
    }
    this.#pump();
  }

  /** Starts what there are connections for, once the page has said all that it wants. */
  #pump() {
    if (this.#isPumping) return;
    this.#isPumping = true;
    queueMicrotask(() => {
      this.#isPumping = false;
      for (let job; !this.#outage && (job = this.#next()); ) this.#run(job);
      this.dispatchEvent(new Event("change"));
    });
  }

  #next() {
    const jobs = [...this.#jobs.values()];
    const running = jobs.filter((job) => job.state === "running");
    for (const [lane, limit] of Object.entries(LIMITS)) {
      const waiting = jobs.filter((job) => job.lane === lane && job.state === "waiting");
      const busy = running.filter((job) => job.lane === lane).length;
      if (waiting.length) return busy < limit && running.length < CONNECTIONS ? nearest(waiting) : null;
      if (busy) return null; // the network's tiles wait until the photographs are whole
    }
    return null;
  }

  async #run(job) {
    job.state = "running";
    job.controller = new AbortController();
    const { signal } = job.controller;
    let isLate = false;
    job.timer = setTimeout(() => {
      isLate = true;
      job.controller.abort();
    }, DEADLINE_MS);
    let response = null;
    let blob = null;
    try {
      response = await fetch(job.url, { signal });
      const body = await response.blob(); // also of a refusal: what is not read may hold the connection
      if (response.ok && response.status !== 204) blob = body;
    } catch {
      if (signal.aborted && !isLate) return; // nobody wants it any more
      response = null;
    }
    clearTimeout(job.timer);
    if (this.#jobs.get(job.url) !== job) return;
    if (!response) this.#lose(job);
    else this.#judge(job, response, blob);
    this.#pump();
  }

  #judge(job, response, blob) {
    this.#endOutage();
    const isStandIn = (response.headers.get("X-Orthosharp") ?? "").startsWith(NOT_RESTORED);
    const isRefused = isStandIn || response.status === 503 || response.status === 429;
    // Another 4xx says that there is no such tile, and would say so again.
    const isFinal = !isRefused && (response.ok || (response.status >= 400 && response.status < 500));
    if (!isFinal) {
      job.attempt += 1;
      job.isRefused = isRefused;
      const asked_ms = retryAfter_ms(response.headers.get("Retry-After"));
      const attempt = asked_ms ? Math.max(1, job.attempt - TRUSTED) : job.attempt;
      this.#delay(job, backoff_ms(attempt, asked_ms));
      return;
    }
    this.#jobs.delete(job.url);
    for (const receiver of job.receivers) receiver.receive(blob);
    this.#wake(job.lane);
  }

  /** The server has made a tile, and perhaps others in the same pass: it is asked again for a few that it refused. */
  #wake(lane) {
    const refused = [...this.#jobs.values()].filter((job) => job.lane === lane && job.isRefused && job.state === "delayed");
    for (let count = 0; count < WOKEN && refused.length; count += 1) {
      const [job] = refused.splice(refused.indexOf(nearest(refused)), 1);
      clearTimeout(job.timer);
      job.state = "waiting";
    }
  }

  #delay(job, wait_ms) {
    job.state = "delayed";
    job.timer = setTimeout(() => {
      job.state = "waiting";
      this.#pump();
    }, wait_ms);
  }

  /** The server did not answer: one request at a time finds out when it does again. */
  #lose(job) {
    job.state = "waiting";
    if (this.#outage && this.#outage.probe !== job) return;
    const attempt = (this.#outage?.attempt ?? 0) + 1;
    this.#outage = { attempt, probe: null, timer: setTimeout(() => this.#probe(), backoff_ms(attempt)) };
  }

  #probe() {
    if (!this.#outage || this.#outage.probe) return;
    if (document.hidden) return; // asked again when somebody looks
    clearTimeout(this.#outage.timer);
    const job = nearest([...this.#jobs.values()].filter((one) => one.state === "waiting"));
    if (!job) {
      this.#endOutage();
      return;
    }
    this.#outage.probe = job;
    this.#run(job);
  }

  #endOutage() {
    clearTimeout(this.#outage?.timer);
    this.#outage = null;
  }
}

function nearest(jobs) {
  const order = Object.keys(LIMITS);
  const distanceOf = (job) => Math.min(...[...job.receivers].map((receiver) => receiver.distance()));
  const ranked = jobs.map((job) => ({ job, lane: order.indexOf(job.lane), distance: distanceOf(job) }));
  ranked.sort((one, other) => one.lane - other.lane || one.distance - other.distance);
  return ranked[0]?.job ?? null;
}
