"""Addresses of the console's page and tickets."""

from django.urls import path

from vms.console import views

urlpatterns = [
    path("t/<slug:slug>/vms/<uuid:vm_id>/console/", views.console_page, name="vm-console"),
    path("t/<slug:slug>/vms/<uuid:vm_id>/console/ticket/", views.console_ticket, name="vm-console-ticket"),
]
