"""The vocabulary of templates: states, times, sizes, icons, buttons that say why not. Loaded as builtins."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.core import units
from portal.core.ids import uuid7
from portal.web import presentation
from portal.web.once import FIELD

register = template.Library()

# Shapes differ, so that a state can be told without its colour: ● ○ ◐ ▲ ✕
_SHAPES = {
    "running": '<circle cx="6" cy="6" r="5" fill="currentColor"/>',
    "stopped": '<circle cx="6" cy="6" r="4.25" fill="none" stroke="currentColor" stroke-width="1.5"/>',
    "working": '<circle cx="6" cy="6" r="4.25" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<path d="M6 1.75a4.25 4.25 0 0 1 0 8.5z" fill="currentColor"/>',
    "attention": '<path d="M6 1 11.4 10.6H.6z" fill="currentColor"/>',
    "failed": '<path d="m2 2 8 8m0-8-8 8" stroke="currentColor" stroke-width="2.25" stroke-linecap="round"/>',
}


@register.simple_tag
def once_key() -> SafeString:
    """{% once_key %}: the key that lets a form act once, however often it is sent (portal.web.once)."""
    return format_html('<input type="hidden" name="{}" value="{}">', FIELD, uuid7())


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """{% icon "vm" %}: one of static/icons.svg (scripts/vendor lists them). With a label it is read aloud."""
    href = f"{static('icons.svg')}#{name}"
    if label:
        return format_html('<svg class="icon" role="img" aria-label="{}"><use href="{}"/></svg>', label, href)
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}"/></svg>', href)


@register.simple_tag
def status(word: str, look: str = "", pill: bool = False) -> SafeString:
    """{% status vm.status %}, {% status "needs attention" look="attention" pill=True %}: shape, hue and the word."""
    look = look or presentation.look(word)
    return format_html(
        '<span class="status status--{}{}"><svg viewBox="0 0 12 12" aria-hidden="true">{}</svg><span>{}</span></span>',
        look,
        " status--pill" if pill else "",
        SafeString(_SHAPES.get(look, _SHAPES["stopped"])),
        word,
    )


@register.simple_tag
def ago(moment: datetime | None) -> SafeString:
    """{% ago vm.created_at %}: a relative time that ticks (static/js/time.js), with the absolute one on hover."""
    if moment is None:
        return SafeString("<span>never</span>")
    absolute = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>', moment.isoformat(), absolute, presentation.age(moment)
    )


@register.simple_tag
def until(moment: datetime) -> SafeString:
    """{% until vm.purge_at %}: how long it is until then, with the absolute time on hover."""
    absolute = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), absolute, presentation.wait(moment)
    )


@register.filter
def mib(value: int) -> str:
    """{{ vm.memory_mib|mib }}"""
    return units.mib(value)


@register.filter
def gib(value: int) -> str:
    """{{ vm.disk_gib|gib }}"""
    return f"{value}{units.THIN_SPACE}GiB"


@register.filter
def filesize(value: int) -> str:
    """{{ image.size_bytes|filesize }}"""
    return units.size(value)


@register.filter
def span(seconds: float | None) -> str:
    """{{ step.seconds|span }}"""
    return "" if seconds is None else presentation.span(seconds)


@register.filter
def message_look(level: str) -> str:
    """{{ message.level_tag|message_look }}"""
    return presentation.MESSAGE_LOOKS.get(level, "running")


@register.inclusion_tag("components/meter.html")
def meter(name: str, amount: str, percent: int | None, added: int = 0, full: bool = False) -> dict[str, Any]:
    """{% meter "Memory" "48 of 64 GiB" 75 %}: `percent` used (None: no limit), `added` what a request takes on top."""
    filled = None if percent is None else min(percent + added, 100)
    return {"name": name, "amount": amount, "used": percent, "filled": filled, "full": full}


@register.inclusion_tag("components/copy.html")
def copy(value: str, label: str = "Copy", boxed: bool = False) -> dict[str, Any]:
    """{% copy address %}, {% copy token "Copy token" boxed=True %}: a value in mono with a button that copies it."""
    return {"value": value, "label": label, "boxed": boxed}


@register.inclusion_tag("components/action_button.html", takes_context=True)
def action_button(
    context: template.RequestContext,
    label: str,
    url: str,
    allowed: bool = True,
    reason: str = "",
    icon: str = "",
    kind: str = "",
    id: str = "",
    confirm: str = "",
) -> dict[str, Any]:
    """A form with one button that POSTs to `url`; not allowed, it stays focusable and tells the reason.

    `kind` is a modifier of .button: primary, danger, quiet. `id` makes the reason's id unique on the page. With words
    to `confirm`, the button shows these and another one that does it.
    """
    return {
        "label": label,
        "url": url,
        "allowed": allowed,
        "reason": reason,
        "icon": icon,
        "kind": kind,
        "confirm": confirm,
        "id": id or label.lower().replace(" ", "-"),
        "csrf_token": context.get("csrf_token"),
    }
