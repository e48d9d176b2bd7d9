/* json.h -- reading objects of cJSON, where what is absent or of another type has a plain meaning.
 *
 *   Ownership  texts are borrowed from the object.
 *   Threads    no shared state. */
#ifndef LS_JSON_H
#define LS_JSON_H

#include <cjson/cJSON.h>

/* The string at `key` (its case counts); "" if there is none. NULL is an empty object. */
const char *ls_json_text(const cJSON *object, const char *key);

#endif
