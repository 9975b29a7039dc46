{#-
    Settings of the engine for one model that sorts or counts a whole history, in effect until its transaction ends.
    Postgres cannot guess how many days users have, takes their number for small and would count in a hash table that
    outgrows its memory; sorted rows are counted in half the time, and the next step wants them sorted.
-#}
{% macro settings_of_a_large_sort() -%}
    {{ return(adapter.dispatch("settings_of_a_large_sort", "rekindle")()) }}
{%- endmacro %}

{% macro default__settings_of_a_large_sort() -%}
    {{ return("") }}
{%- endmacro %}

{% macro postgres__settings_of_a_large_sort() -%}
    {{ return("set local enable_hashagg = off; set local work_mem = '256MB';") }}
{%- endmacro %}


{#-
    And of one that sorts it all at once, until its transaction ends: helpers join and sort, the process itself counts what
    they hand over in order. Postgres takes users that come out of an array for ten, and must not look them up one by one.
-#}
{% macro settings_of_a_full_sort() -%}
    {%- if not is_incremental() -%}
        {{ return(adapter.dispatch("settings_of_a_full_sort", "rekindle")()) }}
    {%- endif -%}
{%- endmacro %}

{% macro default__settings_of_a_full_sort() -%}
{%- endmacro %}

{% macro postgres__settings_of_a_full_sort() -%}
    set local parallel_setup_cost = 0;
    set local parallel_tuple_cost = 0;
    set local enable_nestloop = off;
{%- endmacro %}


{#-
    Settings of the one transaction for look-ups that follow a short list: sorted, which is also the order in which
    look-ups find their pages in memory, and by one process, as helpers cost more than they take off.
-#}
{% macro settings_of_look_ups() -%}
    {{ return(adapter.dispatch("settings_of_look_ups", "rekindle")()) }}
{%- endmacro %}

{% macro default__settings_of_look_ups() -%}
    {{ return("") }}
{%- endmacro %}

{% macro postgres__settings_of_look_ups() -%}
    {{ return("set local enable_hashagg = off; set local max_parallel_workers_per_gather = 0;") }}
{%- endmacro %}
