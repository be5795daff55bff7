"""Addresses of the pages that stand on the portal alone."""

from django.urls import path

from portal.web.views import account, activity, audit, home, members, operations, prices, quota, tenants, usage, users

urlpatterns = [
    path("", home.home, name="home"),
    path("t/<slug:slug>/activity/", activity.activity, name="activity"),
    path("t/<slug:slug>/quota/", quota.quota_meters, name="quota-meters"),
    path("t/<slug:slug>/usage/", usage.usage, name="usage"),
    path("t/<slug:slug>/members/", members.member_list, name="member-list"),
    path("t/<slug:slug>/members/<uuid:membership_id>/remove/", members.member_remove, name="member-remove"),
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
    path("provider/tenants/<slug:slug>/billing/", prices.tenant_billing, name="provider-tenant-billing"),
    path("provider/tenants/<slug:slug>/billing/close/", prices.tenant_close_month, name="provider-tenant-close-month"),
    path("provider/prices/", prices.price_list, name="provider-prices"),
    path("provider/prices/add/", prices.price_add, name="provider-price-add"),
    path("provider/prices/<uuid:book_id>/delete/", prices.price_delete, name="provider-price-delete"),
    path("provider/users/", users.provider_users, name="provider-users"),
    path("provider/create-user/", users.provider_user_create, name="provider-user-create"),
    path("provider/users/<uuid:user_id>/", users.provider_user_change, name="provider-user-change"),
]
