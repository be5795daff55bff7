"""Addresses of the API that belong to the portal itself. They end with a catch-all, so the apps' own come before."""

from django.urls import path, re_path

from portal.api import account, documentation, events, lifecycle, operations, tenants, views, webhooks

urlpatterns = [
    path("schema", documentation.schema_document, name="api-schema"),
    path("docs", documentation.schema_page, name="api-docs"),
    path("operations", operations.Operations.as_view()),
    path("operations/<uuid:id>", operations.operation_detail),
    path("operations/<uuid:id>/actions/cancel", operations.OperationCancel.as_view()),
    path("operations/<uuid:id>/actions/retry", operations.OperationRetry.as_view()),
    path("operations/<uuid:id>/actions/unwind", operations.OperationUnwind.as_view()),
    path("tenants", tenants.Tenants.as_view()),
    re_path(
        r"^tenants/by-external-id/(?P<external_id>[A-Za-z0-9._:@-]{1,100})\Z", lifecycle.TenantByExternalId.as_view()
    ),
    path("tenants/<slug:tenant>", tenants.TenantDetail.as_view()),
    path("tenants/<slug:tenant>/members", tenants.Members.as_view()),
    re_path(
        r"^tenants/(?P<tenant>[-\w]+)/members/(?P<username>[\w.@+-]{1,150})\Z",
        tenants.MemberDetail.as_view(),
    ),
    path("quotas", tenants.Quotas.as_view()),
    path("quotas/<slug:tenant>", tenants.QuotaDetail.as_view()),
    path("events", events.Events.as_view()),
    path("webhooks", webhooks.Webhooks.as_view()),
    path("webhooks/<uuid:id>", webhooks.WebhookDetail.as_view()),
    path("webhooks/<uuid:id>/actions/enable", webhooks.WebhookEnable.as_view()),
    path("webhooks/<uuid:id>/actions/disable", webhooks.WebhookDisable.as_view()),
    path("webhooks/<uuid:id>/actions/rotate", webhooks.WebhookRotate.as_view()),
    path("webhooks/<uuid:id>/actions/test", webhooks.WebhookTest.as_view()),
    path("webhooks/<uuid:id>/actions/replay", webhooks.WebhookReplay.as_view()),
    path("webhooks/<uuid:id>/deliveries", webhooks.Deliveries.as_view()),
    path("webhooks/<uuid:id>/deliveries/<uuid:delivery>/actions/resend", webhooks.DeliveryResend.as_view()),
    path("tokens", account.Tokens.as_view()),
    path("tokens/<uuid:id>", account.TokenDetail.as_view()),
    path("ssh-keys", account.SshKeys.as_view()),
    path("ssh-keys/<uuid:id>", account.SshKeyDetail.as_view()),
    re_path(r"", views.Unknown.as_view()),
]
