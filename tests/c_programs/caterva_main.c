/* Caterva's test programs were written when C-Blosc2 initialised itself; now a caller has to. Their
 * main is compiled under another name and called from here. */
int caterva_test_main(void);

int main(void) {
  blosc2_init();
  int result = caterva_test_main();
  blosc2_destroy();
  return result;
}
