"""Addresses of the API that belong to the portal itself. They end with a catch-all, so the apps' own come before."""

from django.urls import path, re_path

from portal.api import account, documentation, events, invitations, operations, quota_requests, tenants, views

urlpatterns = [
    path("schema", documentation.schema_document, name="api-schema"),
    path("docs", documentation.schema_page, name="api-docs"),
    path("operations", operations.Operations.as_view()),
    path("operations/<uuid:id>", operations.operation_detail),
    path("operations/<uuid:id>/actions/cancel", operations.OperationCancel.as_view()),
    path("operations/<uuid:id>/actions/retry", operations.OperationRetry.as_view()),
    path("operations/<uuid:id>/actions/unwind", operations.OperationUnwind.as_view()),
    path("tenants", tenants.Tenants.as_view()),
    path("tenants/<slug:tenant>", tenants.TenantDetail.as_view()),
    path("tenants/<slug:tenant>/members", tenants.Members.as_view()),
    re_path(
        r"^tenants/(?P<tenant>[-\w]+)/members/(?P<username>[\w.@+-]{1,150})\Z",
        tenants.MemberDetail.as_view(),
    ),
    path("tenants/<slug:tenant>/invitations", invitations.Invitations.as_view()),
    path("tenants/<slug:tenant>/invitations/<uuid:id>", invitations.InvitationDetail.as_view()),
    path("tenants/<slug:tenant>/actions/leave", invitations.TenantLeave.as_view()),
    path("tenants/<slug:tenant>/actions/transfer", invitations.TenantHandOver.as_view()),
    path("invitations/actions/accept", invitations.InvitationAccept.as_view()),
    path("quotas", tenants.Quotas.as_view()),
    path("quotas/<slug:tenant>", tenants.QuotaDetail.as_view()),
    path("quotas/<slug:tenant>/requests", quota_requests.TenantRequests.as_view()),
    path("quota-requests", quota_requests.QuotaRequests.as_view()),
    path("quota-requests/<uuid:id>", quota_requests.QuotaRequestDetail.as_view()),
    path("quota-requests/<uuid:id>/actions/approve", quota_requests.QuotaRequestApprove.as_view()),
    path("quota-requests/<uuid:id>/actions/refuse", quota_requests.QuotaRequestRefuse.as_view()),
    path("quota-requests/<uuid:id>/actions/withdraw", quota_requests.QuotaRequestWithdraw.as_view()),
    path("quota-rule", quota_requests.QuotaRule.as_view()),
    path("events", events.Events.as_view()),
    path("tokens", account.Tokens.as_view()),
    path("tokens/<uuid:id>", account.TokenDetail.as_view()),
    path("ssh-keys", account.SshKeys.as_view()),
    path("ssh-keys/<uuid:id>", account.SshKeyDetail.as_view()),
    re_path(r"", views.Unknown.as_view()),
]
