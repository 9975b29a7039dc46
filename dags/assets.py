"""The assets that DAGs produce and wait for, each declared once and named `<schema>.<table>`.

An asset is partitioned by `as_of_date`: its partition key is that date as `YYYY-MM-DD`, so every DAG downstream runs
once per date, whatever order the dates come in.
"""

from airflow.sdk import Asset, AssetAlias

LANDED_SESSIONS = Asset("raw.sessions")
USER_FEATURES = Asset("features.feat_user_behaviour")
MODEL_VERSIONS = Asset("predictions.model_versions")
# Through this name a task may emit MODEL_VERSIONS, and need not: every success emits what is an outlet itself.
CONFIRMED_VERSIONS = AssetAlias(MODEL_VERSIONS.name)
DECISIONS = Asset("predictions.decisions")
TARGETS = Asset("marketing.targets")
CAMPAIGNS = Asset("experiments.campaigns")
DRIFT = Asset("predictions.drift")
