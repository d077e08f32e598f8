// hx-ext="morph" hx-swap="morph": changes what differs and leaves the rest, so that focus, selection and scrolling stay.
//
// <details> stay as the reader left them, and what was loaded into <… data-kept> stays too, until the `data-mark` of
// the element around it says that it is old: then it is loaded again.
import { Idiomorph } from "idiomorph";

export function installMorph(htmx) {
  htmx.defineExtension("morph", {
    isInlineSwap: (style) => style === "morph",
    handleSwap: (style, target, fragment) => (style === "morph" ? morph(htmx, target, fragment) : false),
  });
}

function morph(htmx, target, fragment) {
  const old = [];
  const callbacks = {
    beforeNodeMorphed: (now, next) => {
      if (now.dataset?.mark && next.dataset && now.dataset.mark !== next.dataset.mark && now.open) old.push(now);
      return !now.dataset || !("kept" in now.dataset);
    },
    beforeAttributeUpdated: (name, element) => !(name === "open" && element.nodeName === "DETAILS"),
  };
  const made = Idiomorph.morph(target, fragment.childNodes, { morphStyle: "innerHTML", callbacks });
  for (const element of old) htmx.trigger(element, "renewed");
  return made;
}
