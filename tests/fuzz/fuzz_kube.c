/* fuzz_kube.c -- libFuzzer: what an API server and a kubeconfig may hold. The first byte picks the reader: a Status, a page, a line of a watch,
 * a plug-in's output, a kubeconfig. Any bytes end in an outcome or in an error with words; never in a crash or a leak. */
#include "operator/kube_config.h"
#include "operator/kube_impl.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void must(int ok)
{
	if (!ok)
		abort();
}

static void read_status(const char *text, size_t len, int http)
{
	struct ls_kube_call c = { .status = http, .err = LS_ERR_INIT };

	ls_str_addn(&c.text, text, len);
	ls_kube_judge(&c);
	must((c.st == LS_OK) == (http / 100 == 2) && (c.st == LS_OK || *c.err.text) && !strpbrk(c.err.text, "\r\n"));
	must(c.retry_after_s >= 0 && c.retry_after_s <= 3600);
	ls_kube_call_release(&c);
}

static void on_item(void *arg, const cJSON *item)
{
	must(cJSON_IsObject(item));
	++*(int *)arg;
}

static void read_page(const char *text, size_t len)
{
	struct ls_kube_page page = { 0 };
	struct ls_err err = LS_ERR_INIT;
	int items = 0;

	if (ls_kube_page_read(text, len, on_item, &items, &page, &err))
		must(*err.text && !page.version.len);
	else
		must(page.version.len > 0);
	ls_kube_page_release(&page);
}

static void read_line(const char *text, size_t len)
{
	struct ls_err err = LS_ERR_INIT;
	const cJSON *object;
	cJSON *doc;
	enum ls_kube_line line = ls_kube_line_read(text, len, &doc, &object, &err);

	must(line <= LS_LINE_BOOKMARK ? ls_kube_version(object) != NULL : !doc && *err.text && !strpbrk(err.text, "\r\n"));
	cJSON_Delete(doc);
}

static void read_plugin(const char *text, size_t len)
{
	struct ls_kube_exec e = { .command = (char *)"p", .api_version = (char *)"v" };
	struct ls_kube_creds got = { 0 };
	struct ls_err err = LS_ERR_INIT;

	if (ls_kube_exec_parse(&e, text, len, &got, &err))
		must(*err.text);
	else
		must(got.token.len || (got.cert_pem.len && got.key_pem.len));
	ls_kube_creds_release(&got);
}

static void read_kubeconfig(const char *text, size_t len)
{
	static int fd = -1;
	static char path[64];
	struct ls_kube_options opt = { .kubeconfig = path };
	struct ls_kube_config c = { 0 };
	struct ls_err err = LS_ERR_INIT;

	if (fd < 0)
		fd = memfd_create("config", 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	must(!ftruncate(fd, 0) && pwrite(fd, text, len, 0) == (ssize_t)len);
	if (ls_kube_config_load(&opt, &c, &err))
		must(*err.text);
	else
		must(c.server && !strpbrk(c.server, " \r\n") && c.namespace_);
	ls_kube_config_release(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const int codes[] = { 200, 302, 401, 404, 409, 410, 429, 500 };
	char *text = malloc(len + 1); /* its own, so that a byte read beyond the end is seen */

	if (!len || !text) {
		free(text);
		return 0;
	}
	memcpy(text, bytes + 1, --len);
	text[len] = '\0';
	switch (bytes[0] % 5) {
	case 0: read_status(text, len, codes[bytes[0] / 5 % 8]); break;
	case 1: read_page(text, len); break;
	case 2: read_line(text, len); break;
	case 3: read_plugin(text, len); break;
	case 4: read_kubeconfig(text, len); break;
	}
	free(text);
	return 0;
}
