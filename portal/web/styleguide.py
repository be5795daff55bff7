"""Every component in every state on one page: what the look of Berth is tried on, by eye and by the tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from portal.web import presentation
from portal.web.actor import actor_of


@dataclass(frozen=True)
class Step:
    """What components/stepper.html shows of a step."""

    title: str
    state: str
    detail: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Tab:
    label: str
    url: str
    is_current: bool = False


class SampleForm(forms.Form):
    """Shown with what was entered: two fields are right, two are wrong."""

    name = forms.CharField(help_text="Lower-case letters, digits and hyphens.", max_length=63)
    size = forms.ChoiceField(choices=[("small", "Small"), ("large", "Large")])
    memory = forms.IntegerField(label="Memory (MiB)", min_value=64)
    user_data = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), label="User data")

    def clean(self) -> None:
        self.add_error(None, "Memory quota reached: 64 of 64 GiB used, this needs 2. Delete a machine or ask for more.")


STEPS = {
    "working": [
        Step("Fetching the image", "done", seconds=0.4),
        Step("Making the disk", "running", "Copying: 1.2 of 4.0 GiB", 38),
        Step("Starting", "waiting"),
    ],
    "failed": [
        Step("Making the disk", "undone", "Removed again", 12),
        Step("Defining the machine", "failed", "The host has no room for the disk.", 1.2),
        Step("Starting", "waiting"),
    ],
}


# As hosts.web.graphs gives them; without its script nothing is drawn.
GRAPHS = {
    "data_url": "",
    "spans": [("hour", "Hour"), ("day", "Day")],
    "graphs": [{"id": "cpu", "title": "CPU", "unit": "percent", "series": "cpu_percent", "words": "used"}],
}
# As hosts.web.map gives them.
BARS = [
    {
        "resource": "vCPU",
        "bars": [
            {"measure": "guaranteed", "words": "8 of 16", "percent": 50},
            {"measure": "committed", "words": "64 of 64", "percent": 100, "is_full": True},
            {"measure": "used", "words": "3 of 16", "percent": 19},
        ],
    }
]


@require_http_methods(["GET", "HEAD", "POST"])
def styleguide(request: HttpRequest) -> HttpResponse:
    """For the provider's people, and for anybody while developing. A POST answers with a toast of each look."""
    if not (settings.DEBUG or actor_of(request).is_provider):
        raise Http404
    if request.method == "POST":
        messages.success(request, "web-1 is being created.")
        messages.warning(request, "Its host runs machines by emulation.")
        messages.error(request, "web-2 was not deleted: it is protected.")
        return redirect(request.path)
    now = timezone.now()
    context = {
        "looks": sorted({*presentation.LOOKS.values()}),
        "words": presentation.LOOKS,
        "moments": [now, now - timedelta(minutes=5), now - timedelta(days=9), now - timedelta(days=400), None],
        "form": SampleForm({"name": "web-1", "size": "small", "memory": "12", "user_data": ""}),
        "steps": STEPS,
        "tabs": [Tab("Overview", "#tabs", is_current=True), Tab("Console", "#tabs"), Tab("Settings", "#tabs")],
        "crumbs": [{"label": "Provider", "url": "#content"}, {"label": "Look", "url": "#content"}],
    }
    return render(request, "styleguide.html", {**context, "graphs": GRAPHS, "bars": BARS})
