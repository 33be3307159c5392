"""A framework on pymesos. Prints what it is told, one JSON object a line, for the test that runs it.

    client.py MASTER life              one task from launch to its end, then TEARDOWN
    client.py MASTER failover          launches, goes away without TEARDOWN, comes back with its ID
"""
import json
import sys
import threading

from pymesos import MesosSchedulerDriver, Scheduler


def say(what, **more):
    print(json.dumps(dict(what=what, **more)), flush=True)


class Framework(Scheduler):
    def __init__(self, kill):
        self.kill = kill
        self.launched = False
        self.over = threading.Event()

    def registered(self, driver, framework_id, master_info):
        say("registered", id=framework_id["value"], version=master_info["version"])
        if self.launched:
            driver.reconcileTasks([])

    def reregistered(self, driver, master_info):
        say("reregistered", version=master_info["version"])
        driver.reconcileTasks([])

    def resourceOffers(self, driver, offers):
        for offer in offers:
            if self.launched:
                driver.declineOffer(offer["id"], dict(refuse_seconds=600))
                continue
            self.launched = True
            scalar = lambda name, value: dict(name=name, type="SCALAR", scalar=dict(value=value))
            task = dict(
                name="t",
                task_id=dict(value="t"),
                agent_id=offer["agent_id"],
                command=dict(shell=True, value="sleep 100"),
                resources=[scalar("cpus", 0.1), scalar("mem", 32)],
            )
            say("launch", host=offer["hostname"])
            driver.launchTasks(offer["id"], [task])

    def statusUpdate(self, driver, status):
        say("update", state=status["state"], reason=status.get("reason"))
        if status["state"] == "TASK_RUNNING" and self.kill:
            self.kill = False
            driver.killTask(status["task_id"])
        elif status["state"] in ("TASK_RUNNING", "TASK_KILLED"):
            self.over.set()

    def error(self, driver, message):
        say("error", message=message)
        self.over.set()


def run(framework, master, info, failover):
    driver = MesosSchedulerDriver(framework, info, master, failover=failover)
    driver.start()
    if not framework.over.wait(60):
        say("nothing more came")
        sys.exit(1)
    # Not a TEARDOWN if there is to be a failover.
    driver.stop(failover=failover)
    driver.join()
    return driver.framework_id


def main():
    master, mode = sys.argv[1:]
    info = dict(user="root", name="foreign", checkpoint=True, failover_timeout=100)
    if mode == "life":
        run(Framework(kill=True), master, info, failover=False)
    else:
        id = run(Framework(kill=False), master, dict(info), failover=True)
        say("gone", id=id)
        again = Framework(kill=True)
        again.launched = True
        run(again, master, dict(info, id=dict(value=id)), failover=False)
    say("done")


main()
