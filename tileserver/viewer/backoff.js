/**
 * @file How long to wait before a request is made again.
 */

const FIRST_MS = 1000;
const LONGEST_MS = 60_000;
/** A server that asks for more is asked again all the same. */
const LONGEST_RETRY_AFTER_MS = 300_000;

/**
 * Returns the wait before another attempt, in milliseconds: doubled with each attempt up to a minute, and not less
 * than the server asks for. With jitter, so that those whom an overloaded server refused do not all return at once.
 *
 * @param {number} attempt        attempts that have failed, from 1
 * @param {number} retryAfter_ms  what the server asks for, or 0
 * @param {() => number} random   from 0 to 1
 */
export function backoff_ms(attempt, retryAfter_ms = 0, random = Math.random) {
  const own_ms = Math.min(FIRST_MS * 2 ** (attempt - 1), LONGEST_MS) * (0.75 + 0.5 * random());
  return Math.max(own_ms, Math.min(retryAfter_ms, LONGEST_RETRY_AFTER_MS) * (1 + 0.25 * random()));
}

/**
 * Returns the Retry-After of a response in milliseconds, of either form (RFC 9110, section 10.2.3); 0 without one.
 *
 * @param {string | null} header
 * @param {number} now_ms
 */
export function retryAfter_ms(header, now_ms = Date.now()) {
  if (!header) return 0;
  if (/^\d+$/.test(header.trim())) return 1000 * Number(header);
  const until_ms = Date.parse(header);
  return Number.isNaN(until_ms) ? 0 : Math.max(0, until_ms - now_ms);
}
