-- The views that people and dashboards read. What ages by itself (recency, the last hour) is computed here, from the
-- store clock. Names and columns stay; what is added comes at the end. Every name is written with its schema: whose
-- search_path this meets is not ours to say.

CREATE OR REPLACE VIEW storefront.store_clock AS
-- Now: wall time where events come as they happen, the newest event where files of another time are replayed. They come as
-- they happen if the newest one was taken in within ten minutes of its time. A time without a value or without end is none.
WITH newest AS (
    (SELECT last_purchase_at AS event_at, updated_at FROM gold.product_sales
     WHERE isfinite(window_start_at) AND isfinite(last_purchase_at) AND isfinite(updated_at)
     ORDER BY window_start_at DESC, last_purchase_at DESC LIMIT 1)
    UNION ALL
    (SELECT last_event_at, updated_at FROM gold.products WHERE isfinite(last_event_at) AND isfinite(updated_at)
     ORDER BY last_event_at DESC LIMIT 1)
    ORDER BY event_at DESC LIMIT 1
)
SELECT CASE WHEN updated_at - event_at < interval '10 minutes' THEN now() ELSE event_at END AS now_at,
       updated_at - event_at < interval '10 minutes' AS is_live
FROM newest;

CREATE OR REPLACE FUNCTION storefront.store_now() RETURNS timestamptz LANGUAGE plpgsql STABLE PARALLEL SAFE AS
-- The clock as a function: the planner asks it, and then knows how few rows are newer than an hour.
'BEGIN RETURN (SELECT now_at FROM storefront.store_clock); END';

CREATE OR REPLACE VIEW storefront.sales_by_product AS
-- All sales of each product: whole days from the roll-up, the newest day from its minutes, so that it is as fresh.
WITH newest AS (SELECT coalesce(max(window_start_on), '-infinity') AS day FROM gold.product_sales_daily),
sold AS (
    SELECT product_id, units, revenue, refund_units, refund_amount, last_purchase_at
    FROM gold.product_sales_daily WHERE window_start_on < (SELECT day FROM newest)
    UNION ALL
    SELECT product_id, units, revenue, refund_units, refund_amount, last_purchase_at
    FROM gold.product_sales WHERE window_start_at >= (SELECT day FROM newest) AT TIME ZONE 'UTC'
)
SELECT product_id, brand, category_code, price, s.units, s.revenue, refund_units, refund_amount, last_purchase_at
FROM (
    SELECT product_id, sum(units)::bigint AS units, sum(revenue) AS revenue, sum(refund_units)::bigint AS refund_units,
           sum(refund_amount) AS refund_amount, max(last_purchase_at) AS last_purchase_at
    FROM sold GROUP BY product_id
) AS s LEFT JOIN gold.products USING (product_id);

CREATE OR REPLACE VIEW storefront.sales_last_hour AS
-- Summed before it is joined: there are far fewer products than windows.
SELECT product_id, brand, category_code, s.units, s.revenue, refund_units, refund_amount, last_purchase_at
FROM (
    SELECT product_id, sum(units)::bigint AS units, sum(revenue) AS revenue, sum(refund_units)::bigint AS refund_units,
           sum(refund_amount) AS refund_amount, max(last_purchase_at) AS last_purchase_at
    FROM gold.product_sales WHERE window_start_at > storefront.store_now() - interval '1 hour'
    GROUP BY product_id
) AS s LEFT JOIN gold.products USING (product_id);

CREATE OR REPLACE VIEW storefront.sales_by_hour AS
SELECT window_start_at AS hour_at, product_id, brand, category_code, units, revenue, buyers, refund_units,
       refund_amount, last_purchase_at
FROM gold.product_sales_hourly LEFT JOIN gold.products USING (product_id);

CREATE OR REPLACE VIEW storefront.sales_by_day AS
SELECT window_start_on AS day_on, product_id, brand, category_code, units, revenue, buyers, refund_units,
       refund_amount, last_purchase_at
FROM gold.product_sales_daily LEFT JOIN gold.products USING (product_id);

CREATE OR REPLACE VIEW storefront.customers AS
-- Recency, frequency, monetary value from 1 to 5, by fixed thresholds: docs/serving.md lists them.
-- Times are compared as times: days as numbers are computed for those who ask for them.
WITH aged AS (
    SELECT user_id, orders, units, revenue, refund_units, refunds, first_purchase_at, last_purchase_at, now_at,
           extract(epoch FROM now_at - last_purchase_at) / 86400 AS recency_days,
           extract(epoch FROM now_at - first_purchase_at) / 86400 AS tenure_days
    FROM gold.customer_value LEFT JOIN storefront.store_clock ON true
), scored AS (
    SELECT *,
           CASE WHEN last_purchase_at IS NULL OR now_at IS NULL THEN NULL
                WHEN last_purchase_at >= now_at - interval '168 hours' THEN 5
                WHEN last_purchase_at >= now_at - interval '720 hours' THEN 4
                WHEN last_purchase_at >= now_at - interval '1440 hours' THEN 3
                WHEN last_purchase_at >= now_at - interval '2160 hours' THEN 2 ELSE 1 END AS recency_score,
           CASE WHEN orders = 0 THEN NULL WHEN orders >= 10 THEN 5 WHEN orders >= 5 THEN 4 WHEN orders >= 3 THEN 3
                WHEN orders >= 2 THEN 2 ELSE 1 END AS frequency_score,
           CASE WHEN orders = 0 THEN NULL WHEN revenue >= 500 THEN 5 WHEN revenue >= 200 THEN 4 WHEN revenue >= 100 THEN 3
                WHEN revenue >= 50 THEN 2 ELSE 1 END AS monetary_score
    FROM aged
)
SELECT user_id, orders, units, revenue, refund_units, refunds, revenue - refunds AS net_revenue,
       round(revenue / nullif(orders, 0), 2) AS average_order, first_purchase_at, last_purchase_at,
       round(recency_days::numeric, 2) AS recency_days, round(tenure_days::numeric, 2) AS tenure_days,
       recency_score, frequency_score, monetary_score,
       CASE WHEN orders = 0 THEN 'refunds only'
            WHEN recency_score >= 4 AND frequency_score >= 4 THEN 'champion'
            WHEN recency_score >= 3 AND frequency_score >= 3 THEN 'loyal'
            WHEN recency_score >= 4 AND frequency_score = 1 THEN 'new'
            WHEN recency_score >= 3 THEN 'promising'
            WHEN frequency_score >= 3 THEN 'at risk'
            WHEN recency_score = 2 THEN 'fading'
            ELSE 'lost' END AS segment
FROM scored;

CREATE OR REPLACE VIEW storefront.top_customers AS
SELECT * FROM storefront.customers ORDER BY revenue DESC, user_id LIMIT 100;

CREATE OR REPLACE VIEW storefront.funnel_by_day AS
SELECT event_on AS day_on, visitors, viewed, carted, bought, conversion, sessions
FROM gold.funnel WHERE scope = 'day';

CREATE OR REPLACE VIEW storefront.funnel_by_brand AS
SELECT event_on AS day_on, brand, visitors, viewed, carted, bought, conversion, sessions
FROM gold.funnel WHERE scope = 'brand';

CREATE OR REPLACE VIEW storefront.sessions AS
-- To be asked for by session_key or user_id.
SELECT session_key, user_id, user_session, started_at, ended_at, events, views, carts, removes, purchases, revenue, cart,
       cart_value, last_cart_change_at
FROM silver.sessions;

CREATE OR REPLACE VIEW storefront.open_abandoned_carts AS
-- Carts for which something can still be done, with what their customer has bought so far.
SELECT session_key, user_id, c.user_session, c.items, c.cart_value, c.abandonments, c.abandoned_at,
       round(extract(epoch FROM storefront.store_now() - c.abandoned_at) / 60) AS abandoned_minutes,
       coalesce(v.orders, 0) AS orders, coalesce(v.revenue, 0) AS revenue
FROM gold.abandoned_carts AS c LEFT JOIN gold.customer_value AS v USING (user_id)
WHERE c.recovered_at IS NULL AND c.abandoned_at > storefront.store_now() - interval '7 days';

CREATE OR REPLACE VIEW storefront.customer_scores AS
-- What a model expects of each customer, beside what the customer has done.
SELECT user_id, probability_alive, expected_purchases, purchases_low, purchases_high, expected_value, value_low, value_high,
       horizon_days, cut_off_at, orders, revenue, refunds, first_purchase_at, last_purchase_at, model_name, model_version,
       silver_version, scored_at
FROM gold.customer_scores LEFT JOIN gold.customer_value USING (user_id);

CREATE OR REPLACE VIEW storefront.open_carts AS
-- Carts that hold something and whose outcome is still open. Sessions come a little after scores: of a cart that its
-- session does not have yet nothing is known but that it has opened.
SELECT session_key, user_id, c.user_session, c.opened_at, c.outcome_at, c.product_id, c.probability, s.cart, s.cart_value,
       s.last_cart_change_at, c.model_name, c.model_version, c.silver_version, c.scored_at
FROM (
    SELECT DISTINCT ON (session_key) * FROM gold.cart_scores
    WHERE outcome_at > storefront.store_now() ORDER BY session_key, opened_at DESC, event_id DESC
) AS c LEFT JOIN silver.sessions AS s USING (session_key, user_id)
WHERE s.last_cart_change_at IS NULL OR s.last_cart_change_at < c.opened_at OR jsonb_array_length(s.cart) > 0;
