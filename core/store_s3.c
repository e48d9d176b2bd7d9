/* store_s3.c -- s3:// */
#include "core/store_ops.h"

ls_status ls_store_s3_open(const char *rest, struct ls_store **ret, struct ls_err *err)
{
	(void)ret;
	return ls_fail(err, LS_USAGE, 0, "s3://%s: this build has no S3 store: use file:///DIRECTORY on a shared file system", rest);
}
