// CodeMirror for pages that edit a flow: turns <textarea data-editor="yaml|json"> into an editor.
//
// window.automataEditor(textarea, {lint, complete}) gives the EditorView; `lint(text)` resolves to
// [{from, to, severity, message}], `complete` is a CodeMirror completion source. The textarea follows every change,
// so that the form is sent as if it had been typed there.
import { autocompletion } from "@codemirror/autocomplete";
import { json } from "@codemirror/lang-json";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { linter, lintGutter } from "@codemirror/lint";
import { unifiedMergeView } from "@codemirror/merge";
import { EditorState } from "@codemirror/state";
import { EditorView, keymap } from "@codemirror/view";
import { indentWithTab } from "@codemirror/commands";
import { tags } from "@lezer/highlight";
import { basicSetup } from "codemirror";

// The page's own properties, which reach into the shadow root; light and dark are theirs.
const theme = EditorView.theme({
  "&": { color: "var(--text)", backgroundColor: "var(--surface)", fontSize: "13px" },
  "&.cm-focused": { outline: "2px solid var(--accent)" },
  ".cm-content": { fontFamily: "var(--mono)", caretColor: "var(--text)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-gutters": { color: "var(--muted)", backgroundColor: "var(--sunken)", borderRight: "1px solid var(--line)" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--hover)" },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--selected) !important" },
  ".cm-tooltip, .cm-panels": { color: "var(--text)", backgroundColor: "var(--surface)", border: "1px solid var(--line)" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { color: "var(--text)", backgroundColor: "var(--selected)" },
});
const colours = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--hl-key)" },
  { tag: [tags.string, tags.content], color: "var(--hl-string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--hl-number)" },
  { tag: tags.comment, color: "var(--hl-comment)" },
]);

export function open(textarea, { lint, complete, original } = {}) {
  const extensions = [
    basicSetup,
    theme,
    syntaxHighlighting(colours),
    keymap.of([indentWithTab]), // Escape, then Tab, leaves the editor
    textarea.dataset.editor === "json" ? json() : yaml(),
    EditorView.updateListener.of((update) => {
      if (update.docChanged) textarea.value = update.state.doc.toString();
    }),
    EditorView.contentAttributes.of({ "aria-label": textarea.getAttribute("aria-label") ?? "Flow" }),
    EditorState.readOnly.of(textarea.readOnly),
  ];
  if (lint) extensions.push(linter((view) => lint(view.state.doc.toString(), view), { delay: 400 }), lintGutter());
  if (complete) extensions.push(autocompletion({ override: [complete] }));
  if (original !== undefined) extensions.push(unifiedMergeView({ original, mergeControls: false }));
  // In a shadow root CodeMirror adopts its style sheets; in the page it would need a <style>, which our policy refuses.
  const host = document.createElement("div");
  host.className = "editor";
  const root = host.attachShadow({ mode: "open" });
  textarea.after(host);
  textarea.hidden = true;
  return new EditorView({ doc: textarea.value, extensions, root, parent: root });
}

window.automataEditor = open;
document.dispatchEvent(new CustomEvent("automata:editor"));
