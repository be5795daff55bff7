"""Who may do what: one table. docs/roles.md and tests/test_roles.py are made of it; scopes of tokens are its words."""

from __future__ import annotations

from enum import StrEnum

from portal.accounts.models import ProviderRole


class Permission(StrEnum):
    VM_READ = "vm:read"
    VM_WRITE = "vm:write"
    VM_CONSOLE = "vm:console"
    VM_SECRETS = "vm:secrets"
    IMAGE_READ = "image:read"
    IMAGE_WRITE = "image:write"
    IMAGE_SHARE = "image:share"
    FLAVOR_READ = "flavor:read"
    FLAVOR_WRITE = "flavor:write"
    NETWORK_READ = "network:read"
    OPERATION_READ = "operation:read"
    OPERATION_WRITE = "operation:write"
    EVENT_READ = "event:read"
    QUOTA_READ = "quota:read"
    QUOTA_WRITE = "quota:write"
    QUOTA_REQUEST = "quota:request"
    BILLING_READ = "billing:read"
    BILLING_WRITE = "billing:write"
    BUDGET_WRITE = "budget:write"
    TENANT_READ = "tenant:read"
    TENANT_WRITE = "tenant:write"
    TENANT_CLOSE = "tenant:close"
    TENANT_SUSPEND = "tenant:suspend"
    WEBHOOK_READ = "webhook:read"
    WEBHOOK_WRITE = "webhook:write"
    MEMBER_READ = "member:read"
    MEMBER_WRITE = "member:write"
    ACCOUNT_READ = "account:read"
    ACCOUNT_WRITE = "account:write"
    HOST_READ = "host:read"
    HOST_WRITE = "host:write"
    FENCE_WRITE = "fence:write"
    USER_READ = "user:read"
    USER_WRITE = "user:write"


# What changes nothing: all that is left to the members of a suspended tenant.
READS = frozenset(permission for permission in Permission if permission.endswith(":read"))


class Role(StrEnum):
    """What a member is in one tenant; each may do what the one before may, and more."""

    BILLING = "billing"
    VIEWER = "viewer"
    MEMBER = "member"
    OWNER = "owner"

    @property
    def label(self) -> str:
        return "Billing reader" if self is Role.BILLING else self.value.capitalize()


P = Permission
_BILLING = frozenset({P.TENANT_READ, P.QUOTA_READ, P.BILLING_READ})
_VIEWER = _BILLING | frozenset(
    {
        P.VM_READ,
        P.IMAGE_READ,
        P.FLAVOR_READ,
        P.NETWORK_READ,
        P.OPERATION_READ,
        P.EVENT_READ,
        P.MEMBER_READ,
    }
)
_MEMBER = _VIEWER | {P.VM_WRITE, P.VM_CONSOLE, P.VM_SECRETS, P.IMAGE_WRITE, P.OPERATION_WRITE, P.QUOTA_REQUEST}
_OWNER = _MEMBER | {
    P.MEMBER_WRITE,
    P.TENANT_WRITE,
    P.TENANT_CLOSE,
    P.IMAGE_SHARE,
    P.WEBHOOK_READ,
    P.WEBHOOK_WRITE,
    P.BUDGET_WRITE,
}

TENANT_ROLES: dict[Role, frozenset[Permission]] = {
    Role.BILLING: _BILLING,
    Role.VIEWER: _VIEWER,
    Role.MEMBER: _MEMBER,
    Role.OWNER: _OWNER,
}

# Admins run tenants' machines but do not read their secrets; auditors read everything else and change nothing.
PROVIDER_ROLES: dict[str, frozenset[Permission]] = {
    ProviderRole.NONE: frozenset(),
    ProviderRole.AUDITOR: _VIEWER | {P.HOST_READ, P.USER_READ, P.WEBHOOK_READ},
    ProviderRole.ADMIN: frozenset(P) - {P.VM_SECRETS},
}

# What everybody who signed in may do with what is their own, and what every tenant shares.
PERSONAL = frozenset({P.ACCOUNT_READ, P.ACCOUNT_WRITE, P.IMAGE_READ, P.FLAVOR_READ, P.NETWORK_READ})
del P
