/* json.c -- see json.h. */
#include "core/json.h"

const char *ls_json_text(const cJSON *object, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));

	return text ? text : "";
}
