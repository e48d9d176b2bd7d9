/* test_cluster.c -- what is free in a cluster and where gangs go: tables of small clusters (cluster_words.h), the flow of watches, and random
 * clusters against a count of every domain. `SEED=n test_cluster` repeats a random one. */
#include "cluster_words.h"

#include <CUnit/Basic.h>
#include <inttypes.h>
#include <time.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void check(const char *says, bool ok, const char *what)
{
	char text[20000];

	snprintf(text, sizeof(text), "%s: %s", says, what);
	CU_assertImplementation(ok, 0, text, __FILE__, "", CU_FALSE);
}

static void same(const char *says, const char *want, const char *got)
{
	char what[16384];

	snprintf(what, sizeof(what), "\n  want: %.8000s\n  got:  %.8000s", want, got);
	check(says, strcmp(want, got) == 0, what);
}

/* JSON with ' for ". */
static cJSON *quoted(const char *text)
{
	char *json = strdup(text), *p;
	cJSON *o;

	for (p = json; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	o = cJSON_Parse(json);
	CU_ASSERT_FATAL(o != NULL);
	free(json);
	return o;
}

/* --- quantities -------------------------------------------------------------------------------------------------------------------------------- */

static const struct { const char *text; bool fine; int64_t milli; } quantities[] = {
	{ "0", true, 0 }, { "1", true, 1000 }, { "500m", true, 500 }, { "1.5", true, 1500 }, { ".5", true, 500 }, { "5.", true, 5000 }, { "+2", true, 2000 },
	{ "2Ki", true, 2048000 }, { "1.5Gi", true, 1610612736000 }, { "1e3", true, 1000000 }, { "1E3", true, 1000000 }, { "1e-3", true, 1 }, { "1E", true, INT64_MAX }, { "1P", true, 1000000000000000000 },
	{ "3k", true, 3000000 }, { "100u", true, 1 }, { "1n", true, 1 }, { "1001u", true, 2 }, { "0.0001", true, 1 }, { "-1", true, -1000 }, { "-1500u", true, -2 },
	{ "99999999999999999999999999", true, INT64_MAX }, { "8Ei", true, INT64_MAX }, { "1e999999999999", true, INT64_MAX }, { "1e-999999999999", true, 1 },
	{ "0e999999999999", true, 0 }, { "-99999999999999999999999999", true, -INT64_MAX }, { "0.00000000000000000000000000000001", true, 1 },
	{ "00000000000000000000000000000000012", true, 12000 }, { "9007199254740993", true, 9007199254740993000 }, { "9007199254740.993", true, 9007199254740993 },
	{ "", false, 0 }, { ".", false, 0 }, { "-", false, 0 }, { "m", false, 0 }, { "1mi", false, 0 }, { "1ki", false, 0 }, { "1Kib", false, 0 }, { "1 ", false, 0 }, { " 1", false, 0 },
	{ "1 Gi", false, 0 }, { "0x10", false, 0 }, { "1e", false, 0 }, { "1e+", false, 0 }, { "1.2.3", false, 0 }, { "1K", false, 0 }, { "NaN", false, 0 }, { "1e3m", false, 0 },
};

static void test_quantities(void)
{
	size_t i;

	for (i = 0; i < COUNT(quantities); i++) {
		int64_t v = 0;
		bool fine = ls_quantity_milli(quantities[i].text, &v);
		char what[64];

		snprintf(what, sizeof(what), "%d, %" PRId64, fine, v);
		check(quantities[i].text, fine == quantities[i].fine && v == quantities[i].milli, what);
	}
}

/* --- what a Pod asks for ----------------------------------------------------------------------------------------------------------------------- */

#define C(requests) "{'name':'c','resources':{'requests':{" requests "}}}"
#define L(limits) "{'name':'c','resources':{'limits':{" limits "}}}"
#define SIDE(requests) "{'name':'s','restartPolicy':'Always','resources':{'requests':{" requests "}}}"

static const struct { const char *says, *spec, *want; } pods[] = {
	{ "containers are summed",                "{'containers':[" C("'cpu':'500m','memory':'1Gi'") "," C("'cpu':'1'") "]}", "1500 1073741824 0" },
	{ "a limit is a request",                 "{'containers':[" L("'nvidia.com/gpu':'8','cpu':2") "]}", "2000 0 8" },
	{ "but not where there is one",           "{'containers':[{'resources':{'requests':{'cpu':'1'},'limits':{'cpu':'4','memory':'1k'}}}]}", "1000 1000 0" },
	{ "even one of 0",                        "{'containers':[{'resources':{'requests':{'cpu':'0'},'limits':{'cpu':'4'}}}]}", "0 0 0" },
	{ "numbers without quotes",               "{'containers':[" C("'cpu':0.1,'memory':1000") "]}", "100 1000 0" },
	{ "the largest init container",           "{'initContainers':[" C("'cpu':'4'") "," C("'cpu':'3'") "],'containers':[" C("'cpu':'2'") "]}", "4000 0 0" },
	{ "a small one does not count",           "{'initContainers':[" C("'cpu':'1'") "],'containers':[" C("'cpu':'2','memory':'1'") "]}", "2000 1 0" },
	{ "sidecars run beside the containers",   "{'initContainers':[" SIDE("'cpu':'1'") "],'containers':[" C("'cpu':'2'") "]}", "3000 0 0" },
	{ "and beside later init containers",     "{'initContainers':[" SIDE("'cpu':'1'") "," C("'cpu':'4'") "],'containers':[" C("'cpu':'2'") "]}", "5000 0 0" },
	{ "not beside those before them",         "{'initContainers':[" C("'cpu':'4'") "," SIDE("'cpu':'1'") "],'containers':[" C("'cpu':'2'") "]}", "4000 0 0" },
	{ "overhead comes on top",                "{'overhead':{'cpu':'250m'},'containers':[" C("'cpu':'1'") "]}", "1250 0 0" },
	{ "requests of the Pod replace the sum",  "{'resources':{'requests':{'cpu':'5'}},'containers':[" C("'cpu':'1','memory':'7'") "]}", "5000 7 0" },
	{ "limits of the Pod where nobody asks",  "{'resources':{'limits':{'cpu':'5','memory':'9'}},'containers':[" C("'cpu':'1'") "]}", "1000 9 0" },
	{ "other resources by name",              "{'containers':[" L("'amd.com/gpu':'2','rdma/hca':1") "," C("'rdma/hca':'1','hugepages-2Mi':'4Mi'") "]}", "0 0 0 amd.com/gpu=2 rdma/hca=2 hugepages-2Mi=4194304" },
	{ "no containers, no amounts",            "{}", "0 0 0" },
	{ "nothing at all",                       "null", "0 0 0" },
	{ "not what it should be",                "{'containers':7,'initContainers':{'a':[]},'overhead':'x','resources':[[]]}", "0 0 0" },
	{ "huge amounts stay huge",               "{'containers':[" C("'cpu':'9e99','nvidia.com/gpu':'9e99'") "," C("'cpu':'9e99'") "]}", "9223372036854775807 0 9223372036854776" },
	{ "a negative amount",                    "{'containers':[" C("'cpu':'-1'") "]}", "container c: resources: cpu: not a quantity of 0 or more, such as 500m or 2Gi" },
	{ "an amount that is none",               "{'containers':[" C("'memory':'lots'") "]}", "container c: resources: memory: not a quantity of 0 or more, such as 500m or 2Gi" },
	{ "an amount that is a list",             "{'containers':[" C("'memory':[]") "]}", "container c: resources: memory: not a quantity of 0 or more, such as 500m or 2Gi" },
	{ "too many resources",                   "{'containers':[" C("'a/0':1,'a/1':1,'a/2':1,'a/3':1,'a/4':1,'a/5':1,'a/6':1,'a/7':1,'a/8':1,'a/9':1,'b/0':1,'b/1':1,'b/2':1,'b/3':1,'b/4':1,'b/5':1,'b/6':1") "]}",
		"container c: resources: asks for more than 16 resources beside CPU, memory and GPUs" },
};

static void test_pods(void)
{
	size_t i;
	int k;

	for (i = 0; i < COUNT(pods); i++) {
		struct ls_ask_resources r;
		struct ls_err err = LS_ERR_INIT;
		char got[2048];
		cJSON *spec = quoted(pods[i].spec);
		char *p = got;

		if (ls_pod_resources(spec, &r, &err))
			snprintf(got, sizeof(got), "%s", err.text);
		else {
			p += sprintf(p, "%" PRId64 " %" PRId64 " %" PRId64, r.cpu_milli, r.memory, r.gpus);
			for (k = 0; k < r.n_extra; k++)
				p += sprintf(p, " %s=%" PRId64, r.extra[k].name, r.extra[k].amount);
		}
		same(pods[i].says, pods[i].want, got);
		cJSON_Delete(spec);
	}
}

/* --- places ------------------------------------------------------------------------------------------------------------------------------------ */

#define AFF(terms) "{'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':[" terms "]}}}}"
#define EXPR(e) AFF("{'matchExpressions':[" e "]}")
#define RACKS "a1-2 block=x rack=a gpus=8; b1-2 block=x rack=b gpus=8; c1-2 block=y rack=c gpus=8"
#define NONE LS_WITHIN_NONE
#define NODE LS_WITHIN_NODE
#define RACK LS_WITHIN_RACK
#define BLOCK LS_WITHIN_BLOCK

/* want: nodes in order; "? why it waits"; "! why it never fits". kept: "NODE:NUMBER …". */
static const struct { const char *says, *cluster, *template_; int workers, min; enum ls_within within; const char *kept, *keys, *want; } places[] = {
	/* which nodes may be used */
	{ "a worker",                             "n1", "cpu=1", 1, 1, NONE, "", "", "n1" },
	{ "without amounts",                      "n1", "", 2, 2, NONE, "", "", "n1 n1" },
	{ "nobody to place",                      "n1", "cpu=1", 0, 0, NONE, "", "", "" },
	{ "a node that is not ready",             "n1 notready; n2", "", 1, 1, NONE, "", "", "n2" },
	{ "a node that nobody hears of",          "n1 unknown; n2", "", 1, 1, NONE, "", "", "n2" },
	{ "a cordoned node",                      "n1 cordoned; n2", "", 1, 1, NONE, "", "", "n2" },
	{ "NoSchedule keeps away",                "n1 taint=k=v:NoSchedule; n2", "", 1, 1, NONE, "", "", "n2" },
	{ "NoExecute keeps away",                 "n1 taint=k:NoExecute; n2", "", 1, 1, NONE, "", "", "n2" },
	{ "PreferNoSchedule does not",            "n1 taint=k=v:PreferNoSchedule", "", 1, 1, NONE, "", "", "n1" },
	{ "tolerated by value",                   "n1 taint=k=v:NoSchedule", "tol=k=v:NoSchedule", 1, 1, NONE, "", "", "n1" },
	{ "of any effect",                        "n1 taint=k=v:NoExecute", "tol=k=v", 1, 1, NONE, "", "", "n1" },
	{ "of any value",                         "n1 taint=k=v:NoSchedule", "tol=k:NoSchedule", 1, 1, NONE, "", "", "n1" },
	{ "of any key",                           "n1 taint=k=v:NoSchedule", "{'tolerations':[{'operator':'Exists'}]}", 1, 1, NONE, "", "", "n1" },
	{ "another value is not tolerated",       "n1 taint=k=v:NoSchedule", "tol=k=w:NoSchedule", 1, 1, NONE, "", "",
		"? needs 1 worker; none fits now: 1 node is tainted (k=v:NoSchedule)" },
	{ "nor another effect",                   "n1 taint=k:NoExecute", "tol=k:NoSchedule", 1, 1, NONE, "", "", "? needs 1 worker; none fits now: 1 node is tainted (k:NoExecute)" },
	{ "nor the second taint",                 "n1 taint=k:NoSchedule taint=l:NoSchedule", "tol=k", 1, 1, NONE, "", "", "? needs 1 worker; none fits now: 1 node is tainted (l:NoSchedule)" },
	{ "nodeSelector",                         "n1 label=d=hdd; n2 label=d=ssd", "sel=d=ssd", 1, 1, NONE, "", "", "n2" },
	{ "all of nodeSelector",                  "n1 label=d=ssd; n2 label=d=ssd label=z=1", "sel=d=ssd sel=z=1", 1, 1, NONE, "", "", "n2" },
	{ "a label that nobody has",              "n1 label=d=hdd", "sel=q=1", 1, 1, NONE, "", "", "? needs 1 worker; none fits now: 1 node does not match the nodeSelector" },
	{ "nodeName",                             "n1-3", "{'nodeName':'n2'}", 2, 2, NONE, "", "", "n2 n2" },
	{ "In",                                   "n1 label=d=hdd; n2 label=d=ssd", EXPR("{'key':'d','operator':'In','values':['nvme','ssd']}"), 1, 1, NONE, "", "", "n2" },
	{ "NotIn",                                "n1 label=d=hdd; n2 label=d=ssd", EXPR("{'key':'d','operator':'NotIn','values':['hdd']}"), 1, 1, NONE, "", "", "n2" },
	{ "NotIn takes those without the label",  "n1 label=d=hdd; n2", EXPR("{'key':'d','operator':'NotIn','values':['hdd']}"), 1, 1, NONE, "", "", "n2" },
	{ "Exists",                               "n1; n2 label=d=ssd", EXPR("{'key':'d','operator':'Exists'}"), 1, 1, NONE, "", "", "n2" },
	{ "DoesNotExist",                         "n1 label=d=ssd; n2", EXPR("{'key':'d','operator':'DoesNotExist'}"), 1, 1, NONE, "", "", "n2" },
	{ "Gt",                                   "n1 label=g=7; n2 label=g=9; n3 label=g=x; n4", EXPR("{'key':'g','operator':'Gt','values':['8']}"), 1, 1, NONE, "", "", "n2" },
	{ "Lt, and not equal",                    "n1 label=g=8; n2 label=g=-9; n3 label=g=", EXPR("{'key':'g','operator':'Lt','values':['8']}"), 1, 1, NONE, "", "", "n2" },
	{ "all expressions of a term",            "n1 label=a=1; n2 label=a=1 label=b=1", EXPR("{'key':'a','operator':'Exists'},{'key':'b','operator':'Exists'}"), 1, 1, NONE, "", "", "n2" },
	{ "one of the terms",                     "n1; n2 label=b=1", AFF("{'matchExpressions':[{'key':'a','operator':'Exists'}]},{'matchExpressions':[{'key':'b','operator':'Exists'}]}"), 1, 1, NONE, "", "", "n2" },
	{ "matchFields",                          "n1-3", AFF("{'matchFields':[{'key':'metadata.name','operator':'In','values':['n3']}]}"), 1, 1, NONE, "", "", "n3" },
	{ "matchFields NotIn",                    "n1-2", AFF("{'matchFields':[{'key':'metadata.name','operator':'NotIn','values':['n1']}]}"), 1, 1, NONE, "", "", "n2" },
	{ "an empty term matches nothing",        "n1", AFF("{}"), 1, 1, NONE, "", "", "? needs 1 worker; none fits now: 1 node does not match the node affinity" },
	{ "nor does no term",                     "n1-2", AFF(""), 1, 1, NONE, "", "", "? needs 1 worker; none fits now: 2 nodes do not match the node affinity" },
	{ "preferred affinity is not ours",       "n1", "{'affinity':{'nodeAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{}]}}}", 1, 1, NONE, "", "", "n1" },
	{ "an operator that is none",             "n1", EXPR("{'key':'d','operator':'Like','values':['x']}"), 1, 1, NONE, "", "",
		"! the template's node affinity for d: operator \"Like\" is none of In, NotIn, Exists, DoesNotExist, Gt, Lt" },
	{ "Gt of no number",                      "n1", EXPR("{'key':'d','operator':'Gt','values':['x']}"), 1, 1, NONE, "", "", "! the template's node affinity for d: Gt wants one integer" },
	{ "an amount that is none",               "n1", "cpu=-1", 1, 1, NONE, "", "", "! container without a name: resources: cpu: not a quantity of 0 or more, such as 500m or 2Gi" },
	/* what is free */
	{ "Pods take their part",                 "n1 gpus=8; n2 gpus=8; +p@n1 gpus=1", "gpus=8", 1, 1, NONE, "", "", "n2" },
	{ "Pods that ended do not",               "n1 gpus=8; +p@n1 gpus=8 phase=Succeeded; +q@n1 gpus=8 phase=Failed", "gpus=8", 1, 1, NONE, "", "", "n1" },
	{ "Pods that will be there do",           "n1-2 gpus=8; +p@ gpus=1 pin=n1", "gpus=8", 1, 1, NONE, "", "", "n2" },
	{ "memory counts",                        "n1 mem=4Gi; n2 mem=8Gi", "mem=5Gi", 1, 1, NONE, "", "", "n2" },
	{ "so does the number of Pods",           "n1 pods=2; n2; +p@n1", "", 3, 3, NONE, "", "", "n2 n2 n2" },
	{ "and any other resource",               "n1; n2 has=rdma/hca=2", "ask=rdma/hca=1", 2, 2, NONE, "", "", "n2 n2" },
	{ "less what Pods have of it",            "n1 has=rdma/hca=2; n2 has=rdma/hca=1; +p@n1 ask=rdma/hca=1", "ask=rdma/hca=1", 2, 2, NONE, "", "", "n1 n2" },
	{ "AMD's GPUs by their name",             "n1 has=amd.com/gpu=8", "ask=amd.com/gpu=16", 1, 1, NONE, "", "", "! needs 1 worker of 16 amd.com/gpu; no node is that large: the largest has 8 amd.com/gpu" },
	{ "a node that is overcommitted",         "n1 cpu=1; +p@n1 cpu=4", "cpu=1", 1, 1, NONE, "", "", "? needs 1 worker of 1 CPU; none fits now: 1 node is full" },
	/* domains */
	{ "one node",                             RACKS, "gpus=4", 2, 2, NONE, "", "", "a1 a1" },
	{ "else one rack",                        RACKS, "gpus=8", 2, 2, NONE, "", "", "a1 a2" },
	{ "else one block",                       RACKS, "gpus=8", 4, 4, NONE, "", "", "a1 a2 b1 b2" },
	{ "else all, racks and blocks together",  RACKS, "gpus=8", 6, 6, NONE, "", "", "a1 a2 b1 b2 c1 c2" },
	{ "the rest where it fits tightest",      RACKS "; +p@a1 gpus=8", "gpus=8", 5, 5, NONE, "", "", "b1 b2 a2 c1 c2" },
	{ "the tightest rack",                    RACKS "; d1-3 block=y rack=d gpus=8; +p@a2 gpus=8; +q@b1 gpus=8", "gpus=8", 2, 2, NONE, "", "", "c1 c2" },
	{ "the tightest node",                    "n1-3 gpus=8; +p@n2 gpus=3; +q@n3 gpus=5", "gpus=3", 1, 1, NONE, "", "", "n3" },
	{ "within a node",                        RACKS "; +p@a1 gpus=5; +q@a2 gpus=5; +r@b1 gpus=5; +s@b2 gpus=5; +t@c1 gpus=4; +u@c2 gpus=5", "gpus=2", 2, 2, NODE, "", "", "c1 c1" },
	{ "within a node it waits",               RACKS, "gpus=6", 2, 2, NODE, "", "", "? needs 12 GPUs within one node; largest free is 8 in a1" },
	{ "within a rack it waits",               "a1 rack=a gpus=8; b1 rack=b gpus=8; +p@a1 gpus=4; +q@b1 gpus=2", "gpus=8", 1, 1, RACK, "", "", "? needs 8 GPUs within one rack; largest free is 6 in b" },
	{ "not ready is said",                    "a1 rack=a gpus=8; b1 rack=b gpus=8 notready; +p@a1 gpus=4", "gpus=8", 1, 1, RACK, "", "", "? needs 8 GPUs within one rack; largest free is 4 in a: 1 node is not ready" },
	{ "none is free",                         "a1 rack=a gpus=8; +p@a1 gpus=8", "gpus=8", 1, 1, RACK, "", "", "? needs 8 GPUs within one rack; none is free" },
	{ "free, but scattered",                  "a1-4 rack=a gpus=4; b1 rack=b gpus=2; +p@a1 gpus=3; +q@a2 gpus=3; +r@a3 gpus=3", "gpus=2", 3, 3, RACK, "", "",
		"? needs 3 workers of 2 GPUs within one rack; 2 fit now in a: 3 nodes are full" },
	{ "within a block",                       RACKS, "gpus=8", 4, 4, BLOCK, "", "", "a1 a2 b1 b2" },
	{ "within a block it waits",              RACKS, "gpus=8", 5, 5, BLOCK, "", "", "? needs 40 GPUs within one block; largest free is 32 in x" },
	{ "nodes without the label cannot serve", "a1 rack=a; n1-3 cpu=128", "cpu=64", 2, 2, RACK, "", "",
		"? needs 2 workers of 64 CPUs within one rack; 1 fits now in a" },
	{ "nobody has the label",                 "n1-2", "cpu=1", 1, 1, RACK, "", "",
		"! placement.within is rack, but no node has the label topology.kubernetes.io/rack: label the nodes, or name another in placement.topologyKeys" },
	{ "keys of the job",                      "n1 label=pod=p label=sw=1; n2 label=pod=p label=sw=2; n3 label=pod=p label=sw=2", "cpu=64", 2, 2, RACK, "", "pod sw kubernetes.io/hostname", "n2 n3" },
	{ "the block by the job's keys",          "n1 label=pod=p label=sw=1; n2 label=pod=q label=sw=2; n3 label=pod=q label=sw=3", "cpu=64", 2, 2, BLOCK, "", "zone pod sw", "n2 n3" },
	{ "no key for a block",                   "n1 label=sw=1", "", 1, 1, BLOCK, "", "sw", "! placement.within is block, but placement.topologyKeys names no label for one" },
	{ "no key for a rack",                    "n1 label=sw=1", "", 1, 1, RACK, "", "kubernetes.io/hostname", "! placement.within is rack, but placement.topologyKeys names no label for one" },
	{ "racks of one name in two blocks",      "a1 block=x rack=1; b1 block=y rack=1", "cpu=64", 2, 2, RACK, "", "", "? needs 2 workers of 64 CPUs within one rack; 1 fits now in 1" },
	{ "without any labels",                   "n1-3 gpus=8; +p@n2 gpus=4", "gpus=4", 5, 5, NONE, "", "", "n1 n1 n3 n3 n2" },
	/* what is whole stays whole */
	{ "small jobs go to nodes in use",        "n1-2 gpus=8; +p@n2 gpus=1", "gpus=1", 2, 2, NONE, "", "", "n2 n2" },
	{ "even where a smaller one is whole",    "n1 gpus=4; n2 gpus=8; +p@n2 gpus=1", "gpus=2", 1, 1, NONE, "", "", "n2" },
	{ "a gang that fills a node takes it",    "n1-2 gpus=8; +p@n2 gpus=1", "gpus=2", 4, 4, NONE, "", "", "n1 n1 n1 n1" },
	{ "a whole node when nothing else is",    "n1-2 gpus=8; +p@n2 gpus=7", "gpus=2", 1, 1, NONE, "", "", "n1" },
	{ "whole ones for those that fill them",  "n1-3 gpus=8 rack=a; +p@n3 gpus=5", "gpus=3", 3, 3, NONE, "", "", "n3 n1 n1" },
	{ "the rest beside others",               "n1-3 gpus=8 rack=a; +p@n3 gpus=2", "gpus=4", 3, 3, NONE, "", "", "n1 n1 n3" },
	{ "without GPUs: not on GPU nodes",       "a1 gpus=8; n1-2 cpu=4", "cpu=4", 2, 2, NONE, "", "", "n1 n2" },
	{ "not even on those in use",             "a1 gpus=8; n1 cpu=4; +p@a1 gpus=8 cpu=60", "cpu=2", 1, 1, NONE, "", "", "n1" },
	{ "unless there is no other",             "a1 gpus=8 cpu=8; n1 cpu=4", "cpu=4", 2, 2, NONE, "", "", "a1 a1" },
	{ "then beside them",                     "a1 gpus=8 cpu=4; n1-2 cpu=4", "cpu=4", 3, 3, NONE, "", "", "n1 n2 a1" },
	/* elastic */
	{ "all, if they fit",                     "n1-4 gpus=8", "gpus=8", 4, 2, NONE, "", "", "n1 n2 n3 n4" },
	{ "as many as fit",                       "n1-3 gpus=8", "gpus=8", 4, 2, NONE, "", "", "n1 n2 n3" },
	{ "in the rack with most room",           "a1-2 rack=a gpus=8; b1-3 rack=b gpus=8", "gpus=8", 4, 2, RACK, "", "", "b1 b2 b3" },
	{ "but at least the minimum",             "n1 gpus=8", "gpus=8", 4, 2, NONE, "", "", "? needs at least 2 of 4 workers of 8 GPUs; 1 fits now" },
	{ "the minimum within a rack",            "a1 rack=a gpus=8; b1 rack=b gpus=8", "gpus=8", 4, 2, RACK, "", "", "? needs at least 16 GPUs within one rack; largest free is 8 in a" },
	{ "none, if none is needed",              "n1 gpus=8; +p@n1 gpus=1", "gpus=8", 4, 0, NONE, "", "", "" },
	/* workers that stay */
	{ "the domain must hold them, too",       RACKS "; +w0@b1 gpus=8", "gpus=8", 1, 1, RACK, "b1:0", "", "b2" },
	{ "on their node if it has room",         "n1-2 gpus=8 rack=a; n3 gpus=8 rack=b; +w0@n2 gpus=4; +p@n3 gpus=4", "gpus=4", 1, 1, NONE, "n2:0", "", "n2" },
	{ "in their rack, though others are tighter", RACKS "; +w0@a1 gpus=8; +w2@b1 gpus=8; +p@c1 gpus=8", "gpus=8", 1, 1, NONE, "a1:0 b1:2", "", "a2" },
	{ "gaps are filled by the nearest",       RACKS "; +w0@a1 gpus=8; +w2@c1 gpus=8", "gpus=8", 2, 2, NONE, "a1:0 c1:2", "", "a2 c2" },
	{ "gaps the other way round",             RACKS "; +w0@c1 gpus=8; +w2@a1 gpus=8", "gpus=8", 2, 2, NONE, "c1:0 a1:2", "", "c2 a2" },
	{ "near the next, if not the one before", RACKS "; +w1@b1 gpus=8; +w2@c1 gpus=8; +p@c2 gpus=8", "gpus=8", 1, 1, NONE, "b1:1 c1:2", "", "b2" },
	{ "their rack is full",                   RACKS "; +w0@b1 gpus=8; +p@b2 gpus=6", "gpus=8", 1, 1, RACK, "b1:0", "", "? needs another 8 GPUs within b, where its other workers are; largest free is 2 in b" },
	{ "their rack has no room for workers",   "a1-2 rack=a; b1 rack=b; +w0@a1 cpu=64; +p@a2 cpu=1", "cpu=64", 1, 1, RACK, "a1:0", "",
		"? needs 1 more worker of 64 CPUs within a, where its other workers are; none fits now: 2 nodes are full" },
	{ "they are not in one rack",             RACKS "; +w0@a1 gpus=8; +w1@b1 gpus=8", "gpus=8", 1, 1, RACK, "a1:0 b1:1", "",
		"? needs 1 more worker of 8 GPUs within one rack; its other workers are not all in one; none fits now: 2 nodes are full" },
	{ "one of their nodes is gone",           RACKS, "gpus=8", 1, 1, RACK, "z1:0", "", "? needs 1 more worker of 8 GPUs within one rack; its other workers are not all in one; none fits now" },
	{ "that matters only within",             RACKS, "gpus=8", 1, 1, NONE, "z1:0", "", "a1" },
	/* why it waits */
	{ "every reason",                         "f1-5 gpus=1; r1-2 gpus=2 notready; t1 gpus=2 taint=key=value:NoSchedule; s1-3 label=z=2 gpus=2; u1 gpus=2 cordoned label=z=1; o1 gpus=6 label=z=1; "
		"v1-2 label=z=1 gpus=2; +p@v1 gpus=1; +q@v2 gpus=1", "gpus=2 cpu=500m sel=z=1", 4, 4, NONE, "", "",
		"? needs 4 workers of 2 GPUs and 500m CPU; 3 fit now: 2 nodes are full, 2 not ready, 1 cordoned, 9 do not match the nodeSelector" },
	{ "taints by kind",                       "a1-2 taint=k=v:NoSchedule; b1 taint=l:NoExecute; c1 taint=m:NoSchedule; d1 taint=n:NoSchedule; n1 cpu=1", "cpu=2", 1, 1, NONE, "", "",
		"? needs 1 worker of 2 CPUs; none fits now: 1 node is too small, 2 tainted (k=v:NoSchedule), 1 tainted (l:NoExecute), 1 tainted (m:NoSchedule), 1 tainted otherwise" },
	{ "memory in its unit",                   "n1 mem=2Gi; n2 mem=1; +p@n1 mem=1536Mi", "mem=1Gi cpu=1", 1, 1, NONE, "", "", "? needs 1 worker of 1 CPU and 1Gi of memory; none fits now: 1 node is full, 1 too small" },
	{ "no node is that large",                "n1 gpus=8; n2 gpus=4 notready", "gpus=16 cpu=1", 4, 4, NONE, "", "", "! needs 4 workers of 16 GPUs and 1 CPU; no node is that large: the largest has 8 GPUs" },
	{ "nor has all together",                 "n1 gpus=8 cpu=1; n2 cpu=8", "gpus=8 cpu=8", 1, 1, NONE, "", "", "! needs 1 worker of 8 GPUs and 8 CPUs; no node has all of that together, even when empty" },
	{ "large, but not ready: it waits",       "n1 gpus=8; n2 gpus=16 notready", "gpus=16", 1, 1, NONE, "", "", "? needs 1 worker of 16 GPUs; none fits now: 1 node is too small, 1 not ready" },
	{ "no nodes",                             "", "gpus=1", 1, 1, NONE, "", "", "? needs 1 worker of 1 GPU; the cluster has no nodes" },
	{ "no nodes, within a rack",              "", "gpus=1", 2, 2, RACK, "", "", "? needs 2 workers of 1 GPU within one rack; the cluster has no nodes" },
	{ "a Pod on a node not yet seen",         "+p@n1 cpu=1", "", 1, 1, NONE, "", "", "? needs 1 worker; the cluster has no nodes" },
	{ "absurd amounts",                       "n1 cpu=9e99 gpus=9e99; +p@n1 cpu=9e99 gpus=9e99; +q@n1 cpu=9e99", "cpu=9e99", 1, 1, NONE, "", "",
		"? needs 1 worker of 9223372036854775807m CPU; none fits now: 1 node is full" },
};

struct question {
	struct ls_place_ask ask;
	char *copy;
	const char *kept[8], *keys[8];
	int index[8];
};

static void question_words(struct question *q, const char *kept, const char *keys)
{
	char *save, *it, *colon;
	int n = 0;

	q->copy = malloc(strlen(kept) + strlen(keys) + 2);
	sprintf(q->copy, "%s%c%s", kept, 0, keys);
	strcpy(q->copy + strlen(kept) + 1, keys);
	for (it = strtok_r(q->copy, " ", &save); it; it = strtok_r(NULL, " ", &save)) {
		colon = strchr(it, ':');
		*colon = 0;
		q->kept[q->ask.n_kept] = it;
		q->index[q->ask.n_kept++] = atoi(colon + 1);
	}
	for (it = strtok_r(q->copy + strlen(kept) + 1, " ", &save); it; it = strtok_r(NULL, " ", &save))
		q->keys[n++] = it;
	q->ask.kept = q->kept;
	q->ask.kept_index = q->index;
	q->ask.keys = n ? q->keys : NULL;
}

static void answer_text(ls_status st, struct ls_place_answer *a, char *ret, size_t size)
{
	size_t len = 0;
	int i;

	snprintf(ret, size, "%s%s", st == LS_AGAIN ? "? " : st == LS_USAGE ? "! " : "", a->why_not);
	for (i = 0; !st && i < a->n; i++)
		len += snprintf(ret + len, size - len, "%s%s", i ? " " : "", a->node[i]);
	free(a->node);
}

static void test_places(void)
{
	size_t i;
	int backwards;

	for (i = 0; i < COUNT(places); i++)
		for (backwards = 0; backwards < 2; backwards++) {
			struct ls_cluster *c;
			struct ls_err err = LS_ERR_INIT;
			struct ls_place_answer a;
			cJSON *pod = words_pod("t", "", places[i].template_);
			struct question q = { .ask = { .template_ = pod, .workers = places[i].workers, .min = places[i].min,
				.within = places[i].within } };
			char got[4096];

			question_words(&q, places[i].kept, places[i].keys);
			CU_ASSERT_FATAL(!ls_cluster_open(&c, &err));
			if (words_cluster(c, places[i].cluster, backwards, &err))
				check(places[i].says, false, err.text);
			answer_text(ls_cluster_place(c, &q.ask, &a, &err), &a, got, sizeof(got));
			same(places[i].says, places[i].want, got);
			ls_cluster_close(c);
			cJSON_Delete(pod);
			free(q.copy);
		}
}

/* --- the flow of watches ----------------------------------------------------------------------------------------------------------------------- */

/* Steps: "set ITEM", "gone NODE", "pod-gone NAME", "reserve NAME NODE GPUS", "release NAME", "nodes{", "}nodes", "pods{", "}pods".
 * want: GPUs free; -: not usable. */
static const struct { const char *says, *steps, *want; } flows[] = {
	{ "a reservation takes its part",           "set n1 gpus=8; reserve p n1 3", "n1=5" },
	{ "and gives it back",                      "set n1 gpus=8; reserve p n1 3; release p", "n1=8" },
	{ "it counts once when its Pod is there",   "set n1 gpus=8; reserve p n1 3; set +p@n1 gpus=3", "n1=5" },
	{ "it moves with its Pod",                  "set n1-2 gpus=8; reserve p n1 3; set +p@n2 gpus=3", "n1=8 n2=5" },
	{ "it stands while the Pod has no node",    "set n1 gpus=8; reserve p n1 3; set +p@ gpus=3", "n1=5" },
	{ "and while the Pod is pinned",            "set n1 gpus=8; reserve p n1 3; set +p@ gpus=3 pin=n1", "n1=5" },
	{ "it goes with the Pod",                   "set n1 gpus=8; reserve p n1 3; set +p@ gpus=3; pod-gone p", "n1=8" },
	{ "and when the Pod has ended",             "set n1 gpus=8; reserve p n1 3; set +p@n1 gpus=3 phase=Failed", "n1=8" },
	{ "twice is once",                          "set n1-2 gpus=8; reserve p n1 3; reserve p n2 2", "n1=8 n2=6" },
	{ "a Pod that was seen is not reserved",    "set n1-2 gpus=8; set +p@n1 gpus=1; reserve p n2 2", "n1=7 n2=8" },
	{ "nor released",                           "set n1 gpus=8; set +p@n1 gpus=1; release p", "n1=7" },
	{ "no reservation on no node",              "set n1 gpus=8; reserve p n9 3", "n1=8" },
	{ "a Pod changes",                          "set n1 gpus=8; set +p@n1 gpus=3; set +p@n1 gpus=4", "n1=4" },
	{ "ends",                                   "set n1 gpus=8; set +p@n1 gpus=3; set +p@n1 gpus=3 phase=Succeeded", "n1=8" },
	{ "is gone",                                "set n1 gpus=8; set +p@n1 gpus=3; set +q@n1 gpus=1; pod-gone p", "n1=7" },
	{ "is gone twice",                          "set n1 gpus=8; pod-gone p; set +p@n1 gpus=3; pod-gone p; pod-gone p", "n1=8" },
	{ "a Pod before its node",                  "set +p@n1 gpus=3; set n1 gpus=8", "n1=5" },
	{ "a node changes",                         "set n1 gpus=8; set +p@n1 gpus=3; set n1 gpus=4", "n1=1" },
	{ "has less than is used",                  "set n1 gpus=8; set +p@n1 gpus=3; set n1 gpus=2", "n1=0" },
	{ "is not ready any more",                  "set n1 gpus=8; set n1 gpus=8 notready", "n1=-" },
	{ "is gone",                                "set n1-2 gpus=8; gone n1", "n1=- n2=8" },
	{ "is gone, and comes again with its Pods", "set n1 gpus=8; set +p@n1 gpus=3; gone n1; set n1 gpus=8", "n1=5" },
	{ "without them",                           "set n1 gpus=8; set +p@n1 gpus=3; gone n1; pod-gone p; set n1 gpus=8", "n1=8" },
	{ "a node that nobody knows is gone",       "set n1 gpus=8; gone n2", "n1=8" },
	{ "a list of nodes drops the others",       "set n1-3 gpus=8; nodes{; set n2 gpus=8; }nodes", "n1=- n2=8 n3=-" },
	{ "a list of Pods drops the others",        "set n1 gpus=8; set +p@n1 gpus=3; set +q@n1 gpus=1; pods{; set +q@n1 gpus=1; }pods", "n1=7" },
	{ "but not reservations",                   "set n1 gpus=8; reserve p n1 3; pods{; }pods", "n1=5" },
	{ "unless their Pods were seen",            "set n1 gpus=8; reserve p n1 3; set +p@ gpus=3; pods{; }pods", "n1=8" },
	{ "a list twice",                           "set n1 gpus=8; pods{; set +p@n1 gpus=3; }pods; pods{; set +p@n1 gpus=3; }pods; pods{; }pods", "n1=8" },
};

static ls_status step(struct ls_cluster *c, char *s, struct ls_err *err)
{
	char a[64] = "", b[64] = "";
	long long gpus = 0;

	s += strspn(s, " ");
	if (strncmp(s, "set ", 4) == 0)
		return words_item(c, s + 4, err);
	if (sscanf(s, "reserve %63s %63s %lld", a, b, &gpus) == 3) {
		struct ls_ask_resources need = { .gpus = gpus };
		ls_status st = ls_cluster_reserve(c, "ns", a, b, &need, err);

		return st == LS_NOT_FOUND ? LS_OK : st;
	}
	if (sscanf(s, "gone %63s", a) == 1)
		ls_cluster_node_gone(c, a);
	else if (sscanf(s, "pod-gone %63s", a) == 1)
		ls_cluster_pod_gone(c, "ns", a);
	else if (sscanf(s, "release %63s", a) == 1)
		ls_cluster_release(c, "ns", a);
	else if (strcmp(s, "nodes{") == 0)
		ls_cluster_nodes_begin(c);
	else if (strcmp(s, "}nodes") == 0)
		ls_cluster_nodes_end(c);
	else if (strcmp(s, "pods{") == 0)
		ls_cluster_pods_begin(c);
	else if (strcmp(s, "}pods") == 0)
		ls_cluster_pods_end(c);
	else
		return ls_fail(err, LS_USAGE, 0, "no such step: %s", s);
	return LS_OK;
}

/* GPUs free on a node: how many workers of one have room. */
static int probe(struct ls_cluster *c, const char *node)
{
	cJSON *pod = words_pod("t", node, "gpus=1");
	struct ls_place_ask ask = { .template_ = pod, .workers = 100, .min = 0 };
	struct ls_place_answer a;
	struct ls_err err = LS_ERR_INIT;

	CU_ASSERT(!ls_cluster_place(c, &ask, &a, &err));
	free(a.node);
	cJSON_Delete(pod);
	return a.n;
}

static void test_flows(void)
{
	size_t i;

	for (i = 0; i < COUNT(flows); i++) {
		struct ls_cluster *c;
		struct ls_err err = LS_ERR_INIT;
		char *steps = strdup(flows[i].steps), *want = strdup(flows[i].want), *save, *it, got[256] = "";

		CU_ASSERT_FATAL(!ls_cluster_open(&c, &err));
		for (it = strtok_r(steps, ";", &save); it; it = strtok_r(NULL, ";", &save)) {
			if (step(c, it, &err))
				check(flows[i].says, false, err.text);
			else
				probe(c, "n1"); /* an answer now must not change one later */
		}
		for (it = strtok_r(want, " ", &save); it; it = strtok_r(NULL, " ", &save)) {
			size_t len = strlen(got);

			*strchr(it, '=') = 0;
			if (ls_cluster_node_ready(c, it))
				snprintf(got + len, sizeof(got) - len, "%s%s=%d", len ? " " : "", it, probe(c, it));
			else
				snprintf(got + len, sizeof(got) - len, "%s%s=-", len ? " " : "", it);
		}
		same(flows[i].says, flows[i].want, got);
		ls_cluster_close(c);
		free(steps);
		free(want);
	}
}

static void test_facts(void)
{
	struct ls_cluster *c;
	struct ls_err err = LS_ERR_INIT;
	struct ls_ask_resources need = { .gpus = 1 };

	CU_ASSERT_FATAL(!ls_cluster_open(&c, &err));
	CU_ASSERT(!words_cluster(c, "n1-2 rack=r; n3 unknown; +p@n4 cpu=1", false, &err));
	CU_ASSERT_EQUAL(ls_cluster_nodes(c), 3);
	CU_ASSERT(ls_cluster_node_ready(c, "n1") && !ls_cluster_node_ready(c, "n3") && !ls_cluster_node_ready(c, "n4") && !ls_cluster_node_ready(c, ""));
	CU_ASSERT_STRING_EQUAL(ls_cluster_domain(c, "n2", "topology.kubernetes.io/rack"), "r");
	CU_ASSERT_STRING_EQUAL(ls_cluster_domain(c, "n2", "topology.kubernetes.io/block"), "");
	CU_ASSERT_STRING_EQUAL(ls_cluster_domain(c, "n3", "topology.kubernetes.io/rack"), "");
	CU_ASSERT_STRING_EQUAL(ls_cluster_domain(c, "n9", "topology.kubernetes.io/rack"), "");
	CU_ASSERT_EQUAL(ls_cluster_reserve(c, "ns", "p", "n4", &need, &err), LS_NOT_FOUND);
	ls_cluster_close(c);
	ls_cluster_close(NULL);
}

/* What makes jobs that wait look again: not a heartbeat, which changes nothing here. */
static void test_news(void)
{
	static const struct { const char *says, *node; bool news; } rows[] = {
		{ "a new node", "gpus=8", true },
		{ "its heartbeat", "gpus=8", false },
		{ "cordoned", "gpus=8 cordoned", true },
		{ "uncordoned", "gpus=8", true },
		{ "a taint", "gpus=8 taint=k=v:NoSchedule", true },
		{ "the same taint", "gpus=8 taint=k=v:NoSchedule", false },
		{ "another value", "gpus=8 taint=k=w:NoSchedule", true },
		{ "another effect", "gpus=8 taint=k=w:NoExecute", true },
		{ "no taint", "gpus=8", true },
		{ "a label", "gpus=8 label=a=b", true },
		{ "another label's value", "gpus=8 label=a=c", true },
		{ "the same labels", "gpus=8 label=a=c", false },
		{ "more room", "gpus=9 label=a=c", true },
		{ "another resource", "gpus=9 label=a=c has=rdma/hca=1", true },
		{ "more of it", "gpus=9 label=a=c has=rdma/hca=2", true },
		{ "as much", "gpus=9 label=a=c has=rdma/hca=2", false },
		{ "not Ready", "gpus=9 label=a=c has=rdma/hca=2 notready", true },
	};
	struct ls_cluster *c;
	struct ls_err err = LS_ERR_INIT;
	cJSON *node;

	CU_ASSERT_FATAL(!ls_cluster_open(&c, &err));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool news;

		node = words_node("n1", rows[i].node);
		CU_ASSERT(!ls_cluster_node_set(c, node, &err));
		cJSON_Delete(node);
		news = ls_cluster_news(c);
		if (news != rows[i].news)
			printf("\n    %s: %s", rows[i].says, news ? "news" : "no news");
		CU_ASSERT_EQUAL(news, rows[i].news);
		CU_ASSERT(!ls_cluster_news(c));
	}
	ls_cluster_close(c);
}

/* Could it ever be there? What is on the node now does not matter. */
static void test_suits(void)
{
	static const struct { const char *says, *template_, *node; bool suits; } rows[] = {
		{ "a full node", "gpus=8", "n1", true },
		{ "too small", "gpus=9", "n1", false },
		{ "no such resource", "ask=rdma/hca=1", "n1", false },
		{ "it has", "ask=rdma/hca=1", "n2", true },
		{ "another label is asked for", "sel=zone=b", "n1", false },
		{ "that label", "sel=zone=b", "n2", true },
		{ "a taint", "gpus=1", "n3", false },
		{ "tolerated", "gpus=1 tol=k", "n3", true },
		{ "no such node", "gpus=1", "n9", false },
	};
	struct ls_cluster *c;
	struct ls_err err = LS_ERR_INIT;

	CU_ASSERT_FATAL(!ls_cluster_open(&c, &err));
	CU_ASSERT(!words_cluster(c, "n1 gpus=8; n2 gpus=8 label=zone=b has=rdma/hca=1; n3 gpus=8 taint=k:NoSchedule; +p@n1 gpus=8", false, &err));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cJSON *pod = words_pod("t", "", rows[i].template_), *any = words_pod("t", "", "gpus=1");
		struct ls_place_ask ask = { .template_ = any, .workers = 1, .min = 1, .spare = pod };
		struct ls_place_answer a;

		if (!strcmp(rows[i].template_, "ask=rdma/hca=1")) /* n1 is full, n3 tainted: n2 is the only place, and spared */
			CU_ASSERT_EQUAL(ls_cluster_place(c, &ask, &a, &err), LS_AGAIN);
		cJSON_Delete(any);

		if (ls_cluster_suits(c, pod, rows[i].node) != rows[i].suits)
			printf("\n    %s", rows[i].says);
		CU_ASSERT_EQUAL(ls_cluster_suits(c, pod, rows[i].node), rows[i].suits);
		cJSON_Delete(pod);
	}
	ls_cluster_close(c);
}

/* A launcher is reserved beside worker 0, but may well land elsewhere: the reservation goes when it is seen there. */
static void test_lands_elsewhere(void)
{
	struct ls_cluster *c;
	struct ls_err err = LS_ERR_INIT;
	struct ls_ask_resources need = { .gpus = 1 };
	struct ls_place_answer a;
	cJSON *template_ = words_pod("t", "", "gpus=1"), *pod = words_pod("l", "", "gpus=1"), *landed = words_pod("l", "n2", "gpus=1");
	struct ls_place_ask ask = { .template_ = template_, .workers = 1, .min = 1 };
	const char *namespace_ = cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetObjectItem(pod, "metadata"), "namespace"));

	CU_ASSERT_FATAL(!ls_cluster_open(&c, &err));
	CU_ASSERT(!words_cluster(c, "n1 gpus=1; n2 gpus=1", false, &err));
	CU_ASSERT(!ls_cluster_reserve(c, namespace_ ? namespace_ : "", "l", "n1", &need, &err));
	CU_ASSERT(!ls_cluster_pod_set(c, pod, &err));
	CU_ASSERT(!ls_cluster_place(c, &ask, &a, &err));
	CU_ASSERT_STRING_EQUAL(a.node[0], "n2");
	free(a.node);
	CU_ASSERT(!ls_cluster_pod_set(c, landed, &err));
	CU_ASSERT(!ls_cluster_place(c, &ask, &a, &err));
	CU_ASSERT_STRING_EQUAL(a.node[0], "n1");
	free(a.node);
	ls_cluster_close(c);
	cJSON_Delete(template_);
	cJSON_Delete(pod);
	cJSON_Delete(landed);
}

/* --- random clusters --------------------------------------------------------------------------------------------------------------------------- */

#define NODES 14
#define ROUNDS 3000

/* What the checker believes, from the same numbers, in its own way. */
struct toy { char name[8]; int block, rack, gpus, cpu, used_gpus, used_cpu; bool ready; };

static unsigned long long state;

static int dice(int n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (int)((state >> 33) % (unsigned)n);
}

static int fits(const struct toy *t, int gpus, int cpu)
{
	int n = 1000;

	if (!t->ready)
		return 0;
	if (gpus && (t->gpus - t->used_gpus) / gpus < n)
		n = (t->gpus - t->used_gpus) / gpus;
	if (cpu && (t->cpu - t->used_cpu) / cpu < n)
		n = (t->cpu - t->used_cpu) / cpu;
	return n < 0 ? 0 : n;
}

static bool together(const struct toy *a, const struct toy *b, int level)
{
	if (level == NONE)
		return true;
	if (level == NODE)
		return a == b;
	if (a->block != b->block)
		return false;
	return level == BLOCK ? a->block >= 0 : a->rack >= 0 && a->rack == b->rack;
}

static const struct toy *toy_of(const struct toy *t, int n, const char *name)
{
	int i;

	for (i = 0; i < n; i++)
		if (strcmp(t[i].name, name) == 0)
			return &t[i];
	return NULL;
}

/* The most workers that any one domain of the level holds, of those that hold the workers that stay. */
static int most(const struct toy *t, int n, int level, const struct ls_place_ask *ask, int gpus, int cpu)
{
	int i, k, best = 0;

	for (i = 0; i < n; i++) {
		int sum = 0;

		for (k = 0; k < n; k++)
			if (together(&t[i], &t[k], level) && together(&t[k], &t[k], ask->within)) /* without that label it cannot serve */
				sum += fits(&t[k], gpus, cpu);
		for (k = 0; k < ask->n_kept; k++)
			if (!together(&t[i], toy_of(t, n, ask->kept[k]), level))
				sum = 0;
		best = sum > best ? sum : best;
	}
	return best;
}

static void build(struct ls_cluster *c, const struct toy *t, int n, int from)
{
	struct ls_err err = LS_ERR_INIT;
	char item[256];
	int i;

	for (i = 0; i < n; i++) {
		const struct toy *x = &t[(i * 5 + from) % n];
		int len = sprintf(item, "%s gpus=%d cpu=%d%s", x->name, x->gpus, x->cpu, x->ready ? "" : " notready");

		if (x->block >= 0)
			len += sprintf(item + len, " block=x%d", x->block);
		if (x->rack >= 0)
			len += sprintf(item + len, " rack=r%d", x->rack);
		CU_ASSERT(!words_item(c, item, &err));
		sprintf(item, "+p%s@%s gpus=%d cpu=%d", x->name, x->name, x->used_gpus, x->used_cpu);
		CU_ASSERT(!words_item(c, item, &err));
	}
}

static int toys(struct toy *t)
{
	int n = 1 + dice(NODES), i, labels = dice(3);

	if (n % 5 == 0)
		n--;           /* build() goes in steps of 5 */
	for (i = 0; i < n; i++) {
		t[i] = (struct toy){ .block = labels > 1 ? dice(3) - (dice(6) == 0) : -1, .rack = labels ? dice(4) - (dice(6) == 0) : -1,
			.gpus = 4 * dice(3), .cpu = 4 + 4 * dice(4), .ready = dice(8) != 0 };
		sprintf(t[i].name, "n%d", i);
		t[i].used_gpus = dice(2) ? dice(t[i].gpus + 1) : 0;
		t[i].used_cpu = dice(2) ? dice(t[i].cpu + 1) : 0;
	}
	return n;
}

/* Workers in a row whose nodes are apart at the level, less what is unavoidable. Nodes without a label are one group. */
static int detours(const struct toy *t, int n, const struct ls_place_answer *a, int level)
{
	int i, k, changes = 0, groups = 0, group[NODES], last = -1;

	for (i = 0; i < a->n; i++) {
		const struct toy *x = toy_of(t, n, a->node[i]);
		int g = level == NODE ? (int)(x - t) : level == RACK ? x->block * 100 + x->rack : x->block;

		changes += i > 0 && g != last;
		last = g;
		for (k = 0; k < groups && group[k] != g; k++)
			;
		if (k == groups)
			group[groups++] = g;
	}
	return groups ? changes - (groups - 1) : 0;
}

/* NULL: right; else what is wrong. */
static const char *judge(const struct toy *t, int n, const struct ls_place_ask *ask, int gpus, int cpu, ls_status st, const struct ls_place_answer *a)
{
	static const int narrow[] = { NODE, RACK, BLOCK, NONE };
	int best = most(t, n, ask->within, ask, gpus, cpu), i, k, count[NODES] = { 0 }, level;

	if (st)
		return best >= ask->min ? "it fits, but was not placed" : *a->why_not ? NULL : "no reason";
	if (a->n != (best < ask->workers ? best : ask->workers) || a->n < ask->min)
		return "too many or too few";
	for (i = 0; i < a->n; i++) {
		const struct toy *x = toy_of(t, n, a->node[i]);

		if (!x || ++count[x - t] > fits(x, gpus, cpu))
			return "overcommitted";
		if (!together(x, toy_of(t, n, ask->n_kept ? ask->kept[0] : a->node[0]), ask->within))
			return "not within";
	}
	if (!ask->n_kept && (detours(t, n, a, NODE) || detours(t, n, a, RACK) || detours(t, n, a, BLOCK)))
		return "neighbours are apart";
	for (k = 0; gpus && a->n && narrow[k] != (int)ask->within; k++) {
		level = narrow[k];
		if (most(t, n, level, ask, gpus, cpu) < a->n)
			continue;
		for (i = 0; i < a->n; i++)
			if (!together(toy_of(t, n, a->node[i]), toy_of(t, n, a->node[0]), level))
				return "a narrower domain holds them";
		break;
	}
	return NULL;
}

static void test_random(void)
{
	const char *seed = getenv("SEED");
	unsigned long long first = seed ? strtoull(seed, NULL, 0) : (unsigned long long)time(NULL) << 16, now;
	int placed = 0, waited = 0;

	for (now = first; now < first + (seed ? 1 : ROUNDS); now++) {
		struct toy t[NODES];
		struct ls_cluster *c[2];
		struct ls_place_answer a[2];
		struct ls_err err = LS_ERR_INIT;
		char words[64], got[2][4096], what[256];
		const char *wrong;
		ls_status st[2];
		cJSON *pod;
		int n, gpus, cpu, i;

		state = now * 2654435761u + 1;
		n = toys(t);
		gpus = dice(3) ? dice(5) : 0;
		cpu = 1 + dice(6);
		sprintf(words, "gpus=%d cpu=%d", gpus, cpu);
		pod = words_pod("t", "", words);
		struct ls_place_ask ask = { .template_ = pod, .workers = 1 + dice(8), .within = dice(4) };
		const char *kept[2] = { t[dice(n)].name, t[dice(n)].name };
		int kept_index[2] = { dice(3), 3 + dice(6) };

		if (dice(3) == 0) {
			ask.n_kept = 1 + dice(2);
			ask.kept = kept;
			ask.kept_index = kept_index;
		}
		ask.min = dice(2) ? ask.workers : dice(ask.workers + 1);
		for (i = 0; i < 2; i++) {
			CU_ASSERT_FATAL(!ls_cluster_open(&c[i], &err));
			build(c[i], t, n, i);
			st[i] = ls_cluster_place(c[i], &ask, &a[i], &err);
		}
		wrong = judge(t, n, &ask, gpus, cpu, st[0], &a[0]);
		st[0] ? waited++ : placed++;
		for (i = 0; i < 2; i++)
			answer_text(st[i], &a[i], got[i], sizeof(got[i]));
		if (!wrong && strcmp(got[0], got[1]) != 0)
			wrong = "another order of insertion, another answer";
		snprintf(what, sizeof(what), "SEED=%llu: %s", now, wrong ? wrong : "");
		check("random cluster", !wrong, what);
		for (i = 0; i < 2; i++)
			ls_cluster_close(c[i]);
		cJSON_Delete(pod);
	}
	check("random clusters", seed || (placed > ROUNDS / 5 && waited > ROUNDS / 10), "both outcomes are common");
}

/* --- hostile ----------------------------------------------------------------------------------------------------------------------------------- */

static const struct { const char *says, *node, *pod; ls_status node_st, pod_st; } hostile[] = {
	{ "nothing",                "null", "null", LS_USAGE, LS_USAGE },
	{ "of other types",         "[1,2]", "\"x\"", LS_USAGE, LS_USAGE },
	{ "no name",                "{'metadata':{'name':7}}", "{'metadata':{'name':{}}}", LS_USAGE, LS_USAGE },
	{ "an empty name",          "{'metadata':{'name':''}}", "{'metadata':{'name':''}}", LS_USAGE, LS_USAGE },
	{ "only a name",            "{'metadata':{'name':'n'}}", "{'metadata':{'name':'p'}}", LS_OK, LS_OK },
	{ "parts of other types",   "{'metadata':{'name':'n','labels':[1,'a',{}]},'spec':{'taints':{'a':1}},'status':{'allocatable':[1],'conditions':'x'}}",
		"{'metadata':{'name':'p'},'spec':{'nodeName':'n','containers':{'a':3},'affinity':[]},'status':'x'}", LS_OK, LS_OK },
	{ "labels of other types",  "{'metadata':{'name':'n','labels':{'a':1,'b':null,'c':'d','c':'e'}}}", "{'metadata':{'name':'p'},'spec':{'affinity':{'nodeAffinity':7}}}", LS_OK, LS_OK },
	{ "amounts that are none",  "{'metadata':{'name':'n'},'status':{'allocatable':{'cpu':'-4'}}}",
		"{'metadata':{'name':'p'},'spec':{'nodeName':'n','containers':[{'resources':{'requests':{'cpu':'x'}}}]}}", LS_USAGE, LS_USAGE },
	{ "huge amounts",           "{'metadata':{'name':'n'},'status':{'allocatable':{'cpu':'9e99','memory':'9e99','pods':'9e99','nvidia.com/gpu':1e300,'x/y':'9Ei'}}}",
		"{'metadata':{'name':'p'},'spec':{'nodeName':'n','containers':[{'resources':{'requests':{'cpu':'9e99','nvidia.com/gpu':'9e99','x/y':'9e99'}}}]}}", LS_OK, LS_OK },
};

/* Whatever is in the cluster, a question has an answer, and what was there before stays. */
static void test_hostile(void)
{
	size_t i;

	for (i = 0; i < COUNT(hostile); i++) {
		struct ls_cluster *c;
		struct ls_err err = LS_ERR_INIT;
		cJSON *node = quoted(hostile[i].node), *pod = quoted(hostile[i].pod);

		CU_ASSERT_FATAL(!ls_cluster_open(&c, &err));
		CU_ASSERT(!words_cluster(c, "n1 gpus=8; +q@n1 gpus=3", false, &err));
		check(hostile[i].says, ls_cluster_node_set(c, node, &err) == hostile[i].node_st, "the node");
		check(hostile[i].says, ls_cluster_pod_set(c, pod, &err) == hostile[i].pod_st, "the Pod");
		CU_ASSERT_EQUAL(probe(c, "n1"), 5);
		probe(c, "n");
		ls_cluster_close(c);
		cJSON_Delete(node);
		cJSON_Delete(pod);
	}
}

/* 10,000 labels and taints on a node; templates at and over the limit. */
static void test_many(void)
{
	struct ls_cluster *c;
	struct ls_err err = LS_ERR_INIT;
	cJSON *node = words_node("n1", ""), *pod = words_pod("t", "", "{'nodeSelector':{}}");
	cJSON *labels = cJSON_CreateObject(), *selector = cJSON_GetObjectItem(cJSON_GetObjectItem(pod, "spec"), "nodeSelector");
	struct ls_place_ask ask = { .template_ = pod, .workers = 1, .min = 1 };
	struct ls_place_answer a;
	char name[32];
	int i;

	cJSON_AddItemToObject(cJSON_GetObjectItem(node, "metadata"), "labels", labels);
	for (i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "label-%d", i);
		cJSON_AddStringToObject(labels, name, "v");
	}
	CU_ASSERT_FATAL(!ls_cluster_open(&c, &err));
	CU_ASSERT(!ls_cluster_node_set(c, node, &err));
	CU_ASSERT_STRING_EQUAL(ls_cluster_domain(c, "n1", "label-7777"), "v");
	for (i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "label-%d", i * 7);
		cJSON_AddStringToObject(selector, name, "v");
	}
	CU_ASSERT(!ls_cluster_place(c, &ask, &a, &err));
	free(a.node);
	cJSON_AddStringToObject(selector, "label-1", "v");
	CU_ASSERT_EQUAL(ls_cluster_place(c, &ask, &a, &err), LS_USAGE);
	CU_ASSERT_STRING_EQUAL(a.why_not, "the template makes more than 1000 requirements on nodes");
	CU_ASSERT_STRING_EQUAL(err.text, a.why_not);
	ls_cluster_node_gone(c, "n1");
	CU_ASSERT_EQUAL(ls_cluster_nodes(c), 0);
	ls_cluster_close(c);
	cJSON_Delete(node);
	cJSON_Delete(pod);
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed;

	if (CU_initialize_registry() || !(suite = CU_add_suite("cluster", NULL, NULL)))
		return 1;
	CU_ADD_TEST(suite, test_quantities);
	CU_ADD_TEST(suite, test_pods);
	CU_ADD_TEST(suite, test_places);
	CU_ADD_TEST(suite, test_flows);
	CU_ADD_TEST(suite, test_facts);
	CU_ADD_TEST(suite, test_news);
	CU_ADD_TEST(suite, test_suits);
	CU_ADD_TEST(suite, test_lands_elsewhere);
	CU_ADD_TEST(suite, test_random);
	CU_ADD_TEST(suite, test_hostile);
	CU_ADD_TEST(suite, test_many);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
