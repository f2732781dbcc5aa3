"use strict";
// Keeps the page's view live: the server sends its HTML whenever it changed. Without this script the page works, unlive.
const FIRST_WAIT_MS = 1000, LONGEST_WAIT_MS = 30000; // between two attempts to reconnect, doubled each time
const SILENCE_MS = 40000; // the server says something every 15 s; two beats missing, and the line is dead
const STEADY_MS = 10000; // a stream that held so long was no accident: the next wait is short again
const FETCH_GAP_MS = 500; // at most so often where the view is too large for an event
const FETCH_FAILED_MS = 5000; // the database is away, say

const view = document.querySelector("[data-view]");
const sign = document.getElementById("live");
const localise = (root) => {
  for (const time of root.querySelectorAll("time")) {
    time.title = new Date(time.dateTime).toLocaleString(undefined, { timeZoneName: "short" });
  }
};

// Between half of the doubled wait and all of it, by chance: pages that were cut off together come back one by one.
const waitMs = (attempt, chance) => Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt) * (0.5 + chance / 2);

const keepLive = () => {
  const name = encodeURIComponent(view.dataset.view);
  let stream = null, attempt = 0, openedAt = 0, offlineSince = null;
  let silence = 0, retry = 0, waiting = null, shownNo = 0, fetching = false, fetchAgain = false;

  const show = () => {
    // not under the reader's hands: what has the focus or a selection stays until it is left
    if (waiting === null || view.contains(document.activeElement) || !window.getSelection().isCollapsed) return;
    const scrolled = [...view.querySelectorAll("section, .scroll")].map((part) => part.scrollLeft);
    view.innerHTML = waiting;  // our own server's escaped HTML; the content policy allows no inline script
    waiting = null;
    localise(view);
    view.querySelectorAll("section, .scroll").forEach((part, n) => { part.scrollLeft = scrolled[n] || 0; });
  };
  const take = (html) => { shownNo += 1; waiting = html; show(); };
  const say = (text, bad) => {
    if (sign.textContent !== text) sign.textContent = text; // a screen reader reads every change
    sign.classList.toggle("s-failed", bad);
  };

  const heard = () => {
    window.clearTimeout(silence);
    silence = window.setTimeout(lost, SILENCE_MS);
  };
  const lost = () => {
    window.clearTimeout(silence);
    window.clearTimeout(retry);
    stream.close();
    offlineSince ??= new Date();
    if (openedAt && Date.now() - openedAt > STEADY_MS) attempt = 0;
    openedAt = 0;
    say("not live since " + offlineSince.toLocaleTimeString() + ": what is shown may be old", true);
    retry = window.setTimeout(connect, waitMs(attempt, Math.random()));
    attempt = Math.min(attempt + 1, 10); // 2^10 s is far beyond the longest wait
  };
  const refetch = async () => {
    if (fetching) { fetchAgain = true; return; }
    fetching = true;
    const before = shownNo;
    let gapMs = FETCH_GAP_MS;
    try {
      const answer = await fetch("/view?view=" + name, { redirect: "error" });
      if (!answer.ok) throw new Error(answer.status);
      const html = await answer.text();
      if (shownNo === before) take(html); // else something newer came by the stream meanwhile
    } catch {
      fetchAgain = offlineSince === null; // a page that is cut off hears it all anew from its next stream
      gapMs = FETCH_FAILED_MS;
    }
    window.setTimeout(() => {
      fetching = false;
      if (fetchAgain) { fetchAgain = false; refetch(); }
    }, gapMs);
  };
  const connect = () => {
    stream = new EventSource("/events?view=" + name);
    // each stream begins with the view as it is now, so a page that was away shows nothing old once it is live again
    stream.addEventListener("view", (event) => { heard(); take(event.data); });
    stream.addEventListener("refetch", () => { heard(); refetch(); });
    stream.addEventListener("beat", heard);
    stream.addEventListener("open", () => { heard(); openedAt = Date.now(); offlineSince = null; say("live", false); });
    stream.addEventListener("error", lost);
    heard();
  };

  connect();
  view.addEventListener("focusout", () => window.setTimeout(show, 0));
  document.addEventListener("selectionchange", show);
  // the network is back, or the page comes out of a browser's cache: no reason to wait out the backoff
  window.addEventListener("online", () => { if (offlineSince) { window.clearTimeout(retry); stream.close(); connect(); } });
};

localise(document);
if (view && window.EventSource) keepLive();
