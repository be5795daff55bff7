"""Addresses of the pages that stand on the portal alone."""

from django.urls import path, re_path

from portal.web.views import account, activity, audit, home, members, operations, quota, tenants, users, webhooks

urlpatterns = [
    path("", home.home, name="home"),
    path("t/<slug:slug>/activity/", activity.activity, name="activity"),
    path("t/<slug:slug>/quota/", quota.quota_meters, name="quota-meters"),
    path("t/<slug:slug>/members/", members.member_list, name="member-list"),
    path("t/<slug:slug>/members/<uuid:membership_id>/remove/", members.member_remove, name="member-remove"),
    path("t/<slug:slug>/webhooks/", webhooks.webhook_list, name="webhook-list"),
    path("webhooks/<uuid:webhook_id>/", webhooks.webhook_detail, name="webhook-detail"),
    path("webhooks/<uuid:webhook_id>/change/", webhooks.webhook_change, name="webhook-change"),
    path("webhooks/<uuid:webhook_id>/rotate/", webhooks.webhook_rotate, name="webhook-rotate"),
    path("webhooks/<uuid:webhook_id>/replay/", webhooks.webhook_replay, name="webhook-replay"),
    path("webhooks/<uuid:webhook_id>/delete/", webhooks.webhook_delete, name="webhook-delete"),
    re_path(
        r"^webhooks/(?P<webhook_id>[0-9a-f-]{36})/(?P<action>enable|disable|test)/\Z",
        webhooks.webhook_act,
        name="webhook-act",
    ),
    path(
        "webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/resend/",
        webhooks.webhook_resend,
        name="webhook-resend",
    ),
    path("operations/indicator/", operations.operation_indicator, name="operation-indicator"),
    path("operations/<uuid:operation_id>/", operations.operation_detail, name="operation-detail"),
    path("operations/<uuid:operation_id>/fragment/", operations.operation_fragment, name="operation-fragment"),
    path("operations/<uuid:operation_id>/cancel/", operations.operation_cancel, name="operation-cancel"),
    path("operations/<uuid:operation_id>/retry/", operations.operation_retry, name="operation-retry"),
    path("operations/<uuid:operation_id>/unwind/", operations.operation_unwind, name="operation-unwind"),
    path("account/ssh-keys/", account.ssh_keys, name="ssh-keys"),
    path("account/ssh-keys/<uuid:key_id>/remove/", account.ssh_key_remove, name="ssh-key-remove"),
    path("account/tokens/", account.api_tokens, name="api-tokens"),
    path("account/tokens/<uuid:token_id>/revoke/", account.api_token_revoke, name="api-token-revoke"),
    path("provider/operations/", operations.provider_operations, name="provider-operations"),
    path("provider/audit/", audit.provider_audit, name="provider-audit"),
    path("provider/audit/export/", audit.provider_audit_export, name="provider-audit-export"),
    path("provider/tenants/", tenants.provider_tenants, name="provider-tenants"),
    path("provider/create-tenant/", tenants.provider_tenant_create, name="provider-tenant-create"),
    path("provider/tenants/<slug:slug>/", tenants.provider_tenant, name="provider-tenant"),
    path("provider/webhooks/", webhooks.provider_webhooks, name="provider-webhooks"),
    path("provider/users/", users.provider_users, name="provider-users"),
    path("provider/create-user/", users.provider_user_create, name="provider-user-create"),
    path("provider/users/<uuid:user_id>/", users.provider_user_change, name="provider-user-change"),
]
