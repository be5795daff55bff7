"""The one way elements are made here: text and attributes are escaped by ElementTree, never joined by hand."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring


def child(parent: Element, tag: str, text: str | None = None, /, **attributes: str) -> Element:
    """Append `<tag attributes>text</tag>` to the parent and return it. A trailing underscore in a name is dropped."""
    element = SubElement(parent, tag, {name.rstrip("_"): value for name, value in attributes.items()})
    element.text = text
    return element


def render(root: Element) -> str:
    """The document as libvirt takes it, indented so that goldens and logs can be read."""
    indent(root)
    return tostring(root, encoding="unicode") + "\n"
