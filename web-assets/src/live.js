// <div data-live="/runs/ID/events">: the element hears `changed` whenever the stream says so.
// <div data-poll="5">: it hears `changed` every so many seconds.
//
// Both only while the page is seen: browsers allow six connections to a server, and seven tabs must not starve each
// other. Without a stream (refused, cut, ended by a proxy) the element is told every few seconds instead.

const POLL_SEC = 3;

export function installLive(htmx) {
  for (const element of document.querySelectorAll("[data-poll]")) watch(htmx, element, Number(element.dataset.poll));
  for (const element of document.querySelectorAll("[data-live]")) watch(htmx, element, POLL_SEC, element.dataset.live);
}

function watch(htmx, element, seconds, address) {
  let source = null;
  let timer = null;
  let over = false;
  const tell = () => htmx.trigger(element, "changed");
  const poll = () => (timer ??= setInterval(tell, seconds * 1000));
  const unpoll = () => {
    clearInterval(timer);
    timer = null;
  };
  const rest = () => {
    source?.close();
    source = null;
    unpoll();
  };
  const end = () => {
    over = true;
    rest();
  };
  const open = () => {
    if (over) return;
    if (!address) return poll();
    if (source) return;
    source = new EventSource(address);
    source.addEventListener("open", () => {
      unpoll();
      element.dataset.stream = "open";
    });
    source.addEventListener("changed", tell);
    source.addEventListener("over", () => {
      end();
      tell();
    });
    source.addEventListener("error", () => {
      element.dataset.stream = "polling";
      poll(); // EventSource tries again by itself unless it was refused
    });
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return rest();
    if (!over) tell();
    open();
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target === element && element.querySelector("[data-over]")) end();
  });
  open();
}
