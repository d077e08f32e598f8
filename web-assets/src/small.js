export function installCopy() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    event.preventDefault();
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      say("Copied");
    } catch {
      say("The browser does not allow copying here");
    }
  });
}

// "/" goes to the search field, "g" and a letter to a page: the letters are in the navigation's data-key.
export function installShortcuts() {
  let going = -Infinity;
  document.addEventListener("keydown", (event) => {
    const [target] = event.composedPath(); // an editor types within a shadow root
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, textarea, select, [contenteditable]"))
      return;
    if (event.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (search) {
        event.preventDefault();
        search.focus();
      }
    } else if (event.key === "g") {
      going = event.timeStamp;
    } else if (event.timeStamp - going < 1500) {
      document.querySelector(`a[data-key="${CSS.escape(event.key)}"]`)?.click();
    }
  });
}

export function installToasts() {
  for (const toast of document.querySelectorAll("[data-toast]:not([data-stays])")) setTimeout(() => toast.remove(), 6000);
  document.addEventListener("click", (event) => event.target.closest("[data-dismiss]")?.closest("[data-toast]")?.remove());
}

export function say(text) {
  const toast = document.createElement("div");
  toast.className = "toast";
  toast.textContent = text;
  document.getElementById("toasts").append(toast);
  setTimeout(() => toast.remove(), 2500);
}

// The address's #part may be inside a <details> that is shut.
export function installTargets() {
  const show = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let place = target; place; place = place.parentElement) if (place.nodeName === "DETAILS") place.open = true;
    target.scrollIntoView({ block: "nearest" });
  };
  window.addEventListener("hashchange", show);
  show();
}

// The menu is a popover on a narrow screen alone; where the browser has no popovers it is always shown.
export function installMenu() {
  const menu = document.getElementById("menu");
  menu?.addEventListener("toggle", (event) => {
    if (event.newState === "open") menu.querySelector("a.item")?.focus();
  });
}
