#!/bin/bash
# Run once, when the server's data is made: a role with a database of its own for each that keeps something, and the role
# that reads. Passwords come from the environment, not from a command line.
set -eu
psql --set ON_ERROR_STOP=1 --no-password --username "$POSTGRES_USER" --dbname postgres --quiet <<'END'
\getenv serving SERVING_PASSWORD
\getenv bi BI_PASSWORD
\getenv registry REGISTRY_PASSWORD
\getenv mlflow MLFLOW_DB_PASSWORD
SET password_encryption = 'scram-sha-256';
SET log_min_error_statement = 'panic';  -- a statement that fails is not in the log with its password
CREATE ROLE storefront LOGIN PASSWORD :'serving';
CREATE ROLE bi LOGIN PASSWORD :'bi';
CREATE ROLE registry LOGIN PASSWORD :'registry';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE DATABASE storefront OWNER storefront;
CREATE DATABASE registry OWNER registry;
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE mlflow_users OWNER mlflow;
REVOKE CONNECT ON DATABASE storefront, registry, mlflow, mlflow_users FROM PUBLIC;
GRANT CONNECT ON DATABASE storefront TO bi;
ALTER ROLE bi IN DATABASE storefront SET search_path = storefront, gold;
-- As in the embedded server (docs/decisions/0039-postgresql-roles-and-account.md).
ALTER ROLE bi CONNECTION LIMIT 15;
ALTER ROLE bi SET statement_timeout = '5min';
ALTER ROLE bi SET idle_in_transaction_session_timeout = '10min';
ALTER ROLE bi SET lock_timeout = '30s';
ALTER ROLE bi SET temp_file_limit = '2GB';
ALTER ROLE bi SET log_min_messages = 'fatal';
END
