"""The tables of the source contract that the game world fills, with their column types."""

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")
MONEY = pa.decimal128(12, 2)

SCHEMAS = {
    "users": pa.schema(
        [
            ("user_id", pa.string()),
            ("registered_at", TIMESTAMP),
            ("country", pa.string()),
            ("language", pa.string()),
            ("timezone", pa.string()),
            ("birth_year", pa.int32()),
            ("acquisition_channel", pa.string()),
            ("attributes", pa.string()),
        ]
    ),
    "sessions": pa.schema(
        [
            ("session_id", pa.string()),
            ("user_id", pa.string()),
            ("started_at", TIMESTAMP),
            ("duration_seconds", pa.int32()),
            ("device_type", pa.string()),
            ("operating_system", pa.string()),
            ("country", pa.string()),
        ]
    ),
    "payments": pa.schema(
        [
            ("payment_id", pa.string()),
            ("user_id", pa.string()),
            ("paid_at", TIMESTAMP),
            ("amount", MONEY),
            ("currency", pa.string()),
            ("kind", pa.string()),
        ]
    ),
    "events": pa.schema(
        [
            ("event_id", pa.string()),
            ("event_type", pa.string()),
            ("title", pa.string()),
            ("starts_at", TIMESTAMP),
            ("ends_at", TIMESTAMP),
            ("reward_cost", pa.decimal128(12, 4)),
            ("contact_cost", pa.decimal128(12, 4)),
            ("capacity", pa.int64()),
        ]
    ),
    "exposures": pa.schema(
        [
            ("exposure_id", pa.string()),
            ("event_id", pa.string()),
            ("user_id", pa.string()),
            ("exposed_at", TIMESTAMP),
            ("channel", pa.string()),
            ("arm", pa.string()),
            ("assignment_probability", pa.float64()),
        ]
    ),
    "responses": pa.schema(
        [
            ("response_id", pa.string()),
            ("event_id", pa.string()),
            ("user_id", pa.string()),
            ("responded_at", TIMESTAMP),
        ]
    ),
    "consents": pa.schema(
        [
            ("consent_id", pa.string()),
            ("user_id", pa.string()),
            ("channel", pa.string()),
            ("purpose", pa.string()),
            ("is_granted", pa.bool_()),
            ("decided_at", TIMESTAMP),
        ]
    ),
    "friendships": pa.schema([("user_id", pa.string()), ("friend_id", pa.string()), ("since", TIMESTAMP)]),
    "items": pa.schema(
        [("item_id", pa.string()), ("item_kind", pa.string()), ("title", pa.string()), ("category", pa.string())]
    ),
    "interactions": pa.schema(
        [
            ("interaction_id", pa.string()),
            ("user_id", pa.string()),
            ("session_id", pa.string()),
            ("occurred_at", TIMESTAMP),
            ("kind", pa.string()),
            ("item_id", pa.string()),
        ]
    ),
}
