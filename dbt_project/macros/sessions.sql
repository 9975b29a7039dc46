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
    A row handed over has its usual price: were it free, helpers would list the users too, and who needs helpers for its list
    joins and sorts without any.
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
    set local parallel_tuple_cost = 0.1;
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


{#-
    Settings of the one transaction for joins of long lists that are in the order of their users anyway, because they were
    counted or are read off a key: sorted they are joined in two thirds of the time that hash tables of everybody take.
-#}
{% macro settings_of_sorted_joins() -%}
    {{ return(adapter.dispatch("settings_of_sorted_joins", "rekindle")()) }}
{%- endmacro %}

{% macro default__settings_of_sorted_joins() -%}
    {{ return("") }}
{%- endmacro %}

{% macro postgres__settings_of_sorted_joins() -%}
    {{ return("set local enable_hashjoin = off;") }}
{%- endmacro %}


{#-
    Whether a column fits into one array: no value of Postgres is larger than a GB, which 25 million names of 36 letters are.
    Half of that is left, since an array is put together from its parts.
-#}
{% macro fits_in_an_array(relation, column) -%}
    {%- set question -%}
        select coalesce(sum(octet_length({{ column }}) + 8), 0) < 536870912
        from {{ relation }}
    {%- endset -%}
    {{ return(execute and run_query(question).columns[0].values()[0]) }}
{%- endmacro %}
