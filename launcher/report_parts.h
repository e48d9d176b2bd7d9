/* report_parts.h -- what the parts of the page share. Only launcher/report*.c and their test include it.
 *
 *   Escaping   every text that comes from a file goes through ls_html_add(); a log tail is hostile input.
 *   Failure    a part appends to the page and returns nothing; `page->oom` is tested once, at the end.
 */
#ifndef LS_REPORT_PARTS_H
#define LS_REPORT_PARTS_H

#include "core/str.h"
#include "launcher/report_steps.h"

#include <cjson/cJSON.h>

/* --- report_text.c: words and numbers ---------------------------------------------------------------------------- */

/* Escaped; terminal colours are left out; what is not UTF-8, control and text-direction characters become U+FFFD. */
void ls_html_add(struct ls_str *page, const char *text);

void ls_text_count(char ret[32], double n);            /* "12,345", "1.25 M" */
void ls_text_value(char ret[32], double v);            /* four significant digits: "0.02313", "1.234e-07" */
void ls_text_duration(char ret[32], double seconds);   /* "0.31 s", "3 min 20 s", "2 h 05 min" */
void ls_text_ms(char ret[32], double ms);              /* "850 µs", "12.3 ms", "1.23 s" */
void ls_text_bytes(char ret[32], double bytes);        /* "1.5 MiB" */

/* Fields of a JSON object that may be NULL, absent, or of another type. */
const char *ls_json_text(const cJSON *obj, const char *key);      /* "" */
double ls_json_num(const cJSON *obj, const char *key);            /* also of "0.41"; NaN */
const cJSON *ls_json_list(const cJSON *obj, const char *key);     /* its first entry, or NULL */
double ls_json_time(const cJSON *obj, const char *key);           /* RFC 3339 -> unix; NaN */
void ls_text_time(char ret[32], double unix_s);                   /* "2026-01-31 12:00:00 UTC", "" for NaN */

/* --- report_axis.c: from values to a place on the page ----------------------------------------------------------- */

enum { LS_TICKS_MAX = 16 };

struct ls_axis {
	double lo, hi; /* lo < hi */
	bool log;      /* then lo > 0 */
	int n;
	double tick[LS_TICKS_MAX];
	char label[LS_TICKS_MAX][16];
};

enum ls_ticks {
	LS_TICKS_FREE,  /* wherever they fall inside the range */
	LS_TICKS_SNAP,  /* the range is widened to begin and end at one */
	LS_TICKS_WHOLE  /* at whole numbers only */
};

/* Round ticks inside [lo, hi], about `want` of them. NaN or empty ranges are mended. */
void ls_axis_linear(struct ls_axis *ret, double lo, double hi, int want, enum ls_ticks kind);
void ls_axis_log(struct ls_axis *ret, double lo, double hi);
double ls_axis_at(const struct ls_axis *axis, double v); /* 0..1, clamped */

/* --- report_chart.c: a chart is an SVG that stretches, with its words around it in HTML --------------------------- */

struct ls_series {
	const char *name;         /* for the legend; a constant */
	const char *css;          /* class of its line and band: "main", "redone" */
	const double *x, *y;      /* [n]; a NaN y breaks the line */
	const double *lo, *hi;    /* a band around the line, or NULL */
	const char *band;         /* the band's name; a constant */
	int n;
	bool area;                /* filled down to the axis */
	bool points;              /* a dot at each, and a bar from lo to hi instead of a band */
};

struct ls_mark {
	double x, until;          /* a vertical line at x; shaded up to `until` when that is larger */
	int attempt;
};

struct ls_chart {
	const char *title, *y_label, *x_label, *hover; /* constants; `hover` names x in the tip */
	struct ls_axis x, y;
	const struct ls_series *series;
	int n_series;
	const struct ls_mark *marks;
	int n_marks;
	const double *bad_x;      /* where losses were NaN or infinite */
	int n_bad;
};

void ls_chart_add(struct ls_str *page, const struct ls_chart *chart);

struct ls_box { /* quantiles of one row */
	double p5, p50, p95, max;
};

void ls_box_add(struct ls_str *page, const struct ls_axis *axis, const struct ls_box *box, bool slow);
void ls_box_axis_add(struct ls_str *page, const struct ls_axis *axis);

/* --- the page, from top to bottom --------------------------------------------------------------------------------- */

struct ls_report {
	const cJSON *job;
	const struct ls_steps *steps;
};

extern const char ls_report_css[], ls_report_js[];                       /* report_style.c */
void ls_report_head(struct ls_str *page, const struct ls_report *r);     /* report_head.c: state, what, where, tiles */
void ls_report_charts(struct ls_str *page, const struct ls_report *r);   /* report_curves.c */
void ls_report_ranks(struct ls_str *page, const struct ls_report *r);    /* report_ranks.c */
void ls_report_placement(struct ls_str *page, const struct ls_report *r);
void ls_report_attempts(struct ls_str *page, const struct ls_report *r); /* report_tables.c */
void ls_report_checkpoints(struct ls_str *page, const struct ls_report *r);
void ls_report_warnings(struct ls_str *page, const struct ls_report *r);

/* The first entry of `ranks` of the newest attempt that has any, and that of one rank; NULL: unknown. */
const cJSON *ls_report_seats(const cJSON *job);
const cJSON *ls_report_seat(const cJSON *job, int rank);

#endif
