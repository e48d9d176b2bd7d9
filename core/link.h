/* link.h -- what the operator and a job's launcher say to each other, and where things are inside the Pods.
 *
 * The operator connects to the launcher's Pod (its address is in the Pod's status: no DNS, no Service), port LS_LINK_PORT, by core/psk.h with the job's secret. Each side sends JSON objects, one
 * a line. The job's Pods need no permission on the API, and no account.
 *
 *   operator -> launcher, whenever something changed:
 *     { "serial": 0,                        of the launcher's Pod: another one's orders are refused
 *       "attempt": 3,                       the number that the next attempt gets, at least
 *       "losses": 0,                        launchers lost since the last progress: already used of backoffLimit
 *       "job": {apiVersion, kind, metadata, spec},   a TrainingJob for `lockstep run -f`
 *       "workers": [{"name": "digits-worker-0", "pod": "digits-worker-0-2", "address": "10.1.2.3", "node": "n1"}, ...],
 *                                           in rank order; `name` stays the same when the Pod is replaced
 *       "complete": true,                   all are there: an attempt may start. false: wait, `waiting` says why
 *       "waiting": "needs 8 GPUs within one rack; largest free is 6 in rack-b",
 *       "deadlineSeconds": 86000 }          left of activeDeadlineSeconds; 0: none
 *
 *   launcher -> operator, on each change, at most one a second; the newest one again to whoever connects:
 *     { "serial": 0, "state": "Running",    Waiting Starting Running Restarting Succeeded Failed Stopped
 *       "exitCode": -1, "message": "",
 *       "attempt": 3, "worldSize": {"requested": 8, "actual": 8},
 *       "progress": {"step": 1200, "totalSteps": 5000, "loss": "0.41", "samplesPerSecond": "5210", "etaSeconds": 93},
 *       "lastCheckpoint": {"step": 1200, "uri": "s3://...", "time": "..."},
 *       "failures": [{"attempt", "rank", "worker", "exitCode", "signal", "reason", "message", "logTail", "time"}] }
 *
 * The last report is also the container's termination message (at most 4,096 bytes: logTail is cut first): it reaches the operator even if the operator was not there.
 *
 * The launcher's end: exit code of `lockstep run`. SIGTERM to it: the ranks get theirs, save, and it ends as Stopped (143).
 * A worker's: SIGTERM to it: nobody comes in any more, its ranks get theirs, all ranks save and leave, and it ends (143). The launcher reports the failure
 * as HostLeaves, and goes on from that checkpoint when the order names another worker in its place. */
#ifndef LS_LINK_H
#define LS_LINK_H

#define LS_LINK_PORT 7701        /* launcher: the operator's connection */
#define LS_POD_PORT 7702         /* worker: `lockstep agent --pod`, for `lockstep dial` */
#define LS_POD_DIR "/lockstep"   /* where the runtime is in every Pod: bin/lockstep, openmpi/, lib/ */
#define LS_POD_SECRET "/lockstep-secret/key" /* the job's secret, 64 hexadecimal digits */
#define LS_POD_RUN "/lockstep-run" /* launcher: the job's directory, writable */

/* Variables of the containers. */
#define LS_ENV_UID "LOCKSTEP_JOB_UID"       /* both: the secret's identity */
#define LS_ENV_SERIAL "LOCKSTEP_POD_SERIAL" /* both */
#define LS_ENV_WORKER "LOCKSTEP_WORKER"     /* worker: its name in the order, "digits-worker-0" */
#define LS_ENV_WORKERS "LOCKSTEP_WORKERS"   /* launcher, for dial and run: the file with the newest order */
#define LS_ENV_SECRET "LOCKSTEP_SECRET"     /* both: the secret's file, where it is not LS_POD_SECRET */
#define LS_ENV_WORKDIR "LOCKSTEP_WORKDIR"   /* worker, set by the agent: where programs start that are given no directory */

#endif
