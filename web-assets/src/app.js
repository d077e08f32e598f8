// What every page loads: htmx, and the small things that a page does by itself.
import htmx from "htmx.org";
import { showTheme } from "./theme-toggle.js";
import { installDialogs } from "./dialogs.js";
import { installLive } from "./live.js";
import { installForms } from "./forms.js";
import { installMorph } from "./morph.js";
import { refreshTimes } from "./times.js";
import { installCopy, installMenu, installShortcuts, installTargets, installToasts } from "./small.js";

htmx.config.allowEval = false;
htmx.config.includeIndicatorStyles = false;
htmx.config.selfRequestsOnly = true;
htmx.config.historyEnabled = false; // a page of runs from ten minutes ago is wrong, not fast
window.htmx = htmx;

showTheme();
installMorph(htmx);
installDialogs();
installCopy();
installMenu();
installShortcuts();
installToasts();
installForms();
installLive(htmx);
installTargets();
refreshTimes(document);
setInterval(() => refreshTimes(document), 10_000);
document.addEventListener("htmx:afterSwap", (event) => refreshTimes(event.target));
